"""The base of linkspan's completion models for LangChain: a prompt in, text out.

Core's convenience class asks prompt after prompt and leaves callbacks, token counts and the cache's key to chance;
here prompts are asked at once, within a bound, and everything that the API says has its place.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing, contextmanager
from contextvars import ContextVar
from enum import EnumMeta
from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.language_models import BaseLLM
from langchain_core.messages import ChatMessage
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import get_config_list
from pydantic import Field

from linkspan.assembler import Assembler
from linkspan.batching import batches_of, run_batches, run_batches_async
from linkspan.errors import ConfigurationError, UnsupportedContentError
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.generations import to_generation_chunk, to_llm_result
from linkspan.langchain.language_model import LinkspanLanguageModel
from linkspan.options import refuse_chat_keywords
from linkspan.unreadable import building_answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import GenerationChunk, LLMResult
    from langchain_core.prompt_values import PromptValue
    from langchain_core.runnables import RunnableConfig

    from linkspan.conversation import Completion, Delta, PromptRequest
    from linkspan.langchain.structured_output import Method
    from linkspan.providers.codec import Codec

__all__ = ["LinkspanLLM"]

#: What a chat model would take; a completion model has no place for it on the wire.
_CHAT_KEYWORDS = ("tools", "tool_choice", "response_format")

#: The options of the call under way, for the cache's key: core makes it of the instance's settings alone.
_call_options: ContextVar[Mapping[str, Any]] = ContextVar("linkspan_call_options")


class LinkspanLLM(LinkspanLanguageModel, BaseLLM):
    """Abstract base of the completion models.

    A provider's settings say in ``_schema_options`` and ``_choice_options`` how its API holds an answer to a shape.

    ``generation_info`` of an answer, in streams of the last chunk: ``finish_reason`` (if the API gives one),
    ``model_name``, ``request_id``, ``token_usage``, ``logprobs`` (an entry per token), and every other field of the API
    under its own name. ``llm_output`` has ``model_name`` and ``token_usage`` of all prompts together.
    """

    _ls_model_type: ClassVar[Any] = "llm"

    streaming: bool = Field(
        default=False,
        description="Stream also where the caller does not (`invoke`), so that callbacks see each token. Several "
        "prompts at once are not streamed.",
    )
    max_concurrency: int = Field(
        default=8, ge=1, description="The most prompts of one `generate` or `batch` that are asked at once."
    )

    # ------------------------------------------------------------------ the four ways to ask

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        with converted_errors():
            requests = [self._request(prompt, stop, kwargs) for prompt in prompts]
            endpoint = self._endpoint()
            if self._streams(prompts, kwargs):
                return self._result([self._drain(prompts[0], stop, run_manager, kwargs)], requests)
            return self._result(
                run_batches(
                    batches_of(requests, 1),
                    lambda batch: endpoint.complete(batch[0][0], timeout=batch[0][1]),
                    self.max_concurrency,
                ),
                requests,
            )

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        with converted_errors():
            requests = [self._request(prompt, stop, kwargs) for prompt in prompts]
            endpoint = self._endpoint()
            if self._streams(prompts, kwargs):
                return self._result([await self._adrain(prompts[0], stop, run_manager, kwargs)], requests)
            return self._result(
                await run_batches_async(
                    batches_of(requests, 1),
                    lambda batch: endpoint.acomplete(batch[0][0], timeout=batch[0][1]),
                    asyncio.Semaphore(self.max_concurrency),
                ),
                requests,
            )

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        return self._chunks(prompt, stop, run_manager, kwargs, Assembler())

    def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        return self._achunks(prompt, stop, run_manager, kwargs, Assembler())

    # ------------------------------------------------------------------ streams

    def _chunks(
        self,
        prompt: str,
        stop: list[str] | None,
        run_manager: CallbackManagerForLLMRun | None,
        kwargs: dict[str, Any],
        assembler: Assembler,
    ) -> Generator[GenerationChunk, None, None]:
        with converted_errors():
            request, timeout = self._request(prompt, stop, kwargs)
            model = self._label(request.model)
            with closing(self._endpoint().batches(request, assembler, timeout=timeout)) as batches:
                for deltas in batches:
                    for delta in deltas:
                        chunk = self._chunk(delta, assembler, model)
                        if run_manager is not None:
                            run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk

    async def _achunks(
        self,
        prompt: str,
        stop: list[str] | None,
        run_manager: AsyncCallbackManagerForLLMRun | None,
        kwargs: dict[str, Any],
        assembler: Assembler,
    ) -> AsyncGenerator[GenerationChunk, None]:
        with converted_errors():
            request, timeout = self._request(prompt, stop, kwargs)
            model = self._label(request.model)
            async with aclosing(self._endpoint().abatches(request, assembler, timeout=timeout)) as batches:
                async for deltas in batches:
                    for delta in deltas:
                        chunk = self._chunk(delta, assembler, model)
                        if run_manager is not None:
                            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk

    def _chunk(self, delta: Delta, assembler: Assembler, model: str | None) -> GenerationChunk:
        with building_answer(self._provider.name, assembler):
            assembler.add(delta)
            return to_generation_chunk(delta, assembler, model)

    def _streams(self, prompts: list[str], kwargs: Mapping[str, Any]) -> bool:
        # Of several prompts, core hands in the first one's callbacks only.
        wanted = kwargs.get("stream")
        return len(prompts) == 1 and (self.streaming if wanted is None else bool(wanted))

    def _drain(
        self, prompt: str, stop: list[str] | None, run_manager: CallbackManagerForLLMRun | None, kwargs: dict[str, Any]
    ) -> Completion:
        assembler = Assembler()
        for _ in self._chunks(prompt, stop, run_manager, kwargs, assembler):
            pass
        return assembler.completion()

    async def _adrain(
        self,
        prompt: str,
        stop: list[str] | None,
        run_manager: AsyncCallbackManagerForLLMRun | None,
        kwargs: dict[str, Any],
    ) -> Completion:
        assembler = Assembler()
        async for _ in self._achunks(prompt, stop, run_manager, kwargs, assembler):
            pass
        return assembler.completion()

    # ------------------------------------------------------------------ requests and results

    def _request(
        self, prompt: str, stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> tuple[PromptRequest, float | None]:
        """Return the request of a prompt, and the call's own timeout."""
        options = self._call_options(kwargs, stop)
        refuse_chat_keywords(self, options.keywords, _CHAT_KEYWORDS)
        return self._prompt_request_of(prompt, options), options.timeout

    def _result(self, completions: list[Completion], requests: list[tuple[PromptRequest, float | None]]) -> LLMResult:
        with building_answer(self._provider.name):
            model = self._label(requests[0][0].model if requests else None)
            return to_llm_result(completions, self._provider.name, model)

    # ------------------------------------------------------------------ structured output

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Method = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable that answers with objects of a schema, to which the server holds the model.

        Args:
            schema: A pydantic class (the answer is an instance), a TypedDict class, a JSON schema (a dict), or an
                ``Enum`` of texts (the answer is a member).
            include_raw: Answer with ``{"raw", "parsed", "parsing_error"}`` and raise no parsing error.
            method: ``"json_schema"``, the only one that a completion model has: it calls no tools, and its API has no
                mode for just any JSON.
            strict: With ``True`` all fields are required and no others allowed.
            **kwargs: Bound as they are.

        Raises:
            ConfigurationError: If the schema is unusable, or the method another one.
            OutputParserException: (of langchain-core, at the call) If the answer does not fit: it was cut off, or the
                deployment does not hold its model to a shape.
        """
        if method != "json_schema":
            raise ConfigurationError(
                f"{type(self).__name__} has one method, 'json_schema', not {method!r}: use the chat class of this API.",
                provider=self._provider.name,
            )
        from linkspan.langchain import answer_parsers, structured_output  # noqa: PLC0415  # parsers take long to load

        if isinstance(schema, EnumMeta):
            options = self._choice_options(answer_parsers.choices_of(schema))
            parser: Any = answer_parsers.ChoiceParser(target=schema)
        else:
            json_schema = answer_parsers.json_schema_of(schema, strict)
            options = self._schema_options(json_schema)
            parser = answer_parsers.AnswerParser.for_schema(schema, json_schema, max_tokens=self.max_tokens)
        asked = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        bound = self.bind(**options, ls_structured_output_format=asked, **kwargs)
        return structured_output.parsed(bound, parser, include_raw=include_raw)

    def _create_codec(self) -> Codec[Any]:
        return self._prompt_codec()

    if TYPE_CHECKING:

        def _prompt_codec(self) -> Codec[Any]: ...

        def _schema_options(self, schema: Mapping[str, Any]) -> dict[str, Any]: ...

        def _choice_options(self, choices: list[str]) -> dict[str, Any]: ...

    # ------------------------------------------------------------------ what LangChain wants to know

    @property
    def _llm_type(self) -> str:
        return self._provider.name.replace("_", "-")

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**super()._identifying_params, **_call_options.get({})}

    def _convert_input(self, model_input: LanguageModelInput) -> PromptValue:
        with converted_errors():
            return self._checked(super()._convert_input(model_input))

    def generate_prompt(self, prompts: list[PromptValue], *args: Any, **kwargs: Any) -> LLMResult:
        """Ask all prompts; see langchain-core.

        Raises:
            UnsupportedContentError: A conversation holds what core would leave out of a text, or untrusted text.
        """
        with converted_errors():
            prompts = [self._checked(prompt) for prompt in prompts]
        return super().generate_prompt(prompts, *args, **kwargs)

    async def agenerate_prompt(self, prompts: list[PromptValue], *args: Any, **kwargs: Any) -> LLMResult:
        """Ask all prompts; see ``generate_prompt``."""
        with converted_errors():
            prompts = [self._checked(prompt) for prompt in prompts]
        return await super().agenerate_prompt(prompts, *args, **kwargs)

    def _checked(self, prompt: PromptValue) -> PromptValue:
        """Refuse a conversation of which core would write untrusted text like any other, or leave parts out."""
        for place, message in enumerate(prompt.messages if isinstance(prompt, ChatPromptValue) else ()):
            what = _not_for_a_prompt(message)
            if what is not None:
                raise UnsupportedContentError(
                    f"{type(self).__name__} takes a prompt: message {place} {what}. Use the chat class of this API.",
                    provider=self._provider.name,
                )
        return prompt

    def generate(self, prompts: list[str], stop: list[str] | str | None = None, *args: Any, **kwargs: Any) -> LLMResult:
        """Ask all prompts; see langchain-core. The cache tells calls with different options apart."""
        stop, kwargs = self._one_word_each(stop, kwargs)
        with self._options_in_key(kwargs):
            return super().generate(prompts, stop, *args, **kwargs)

    async def agenerate(
        self, prompts: list[str], stop: list[str] | str | None = None, *args: Any, **kwargs: Any
    ) -> LLMResult:
        """Ask all prompts; see langchain-core. The cache tells calls with different options apart."""
        stop, kwargs = self._one_word_each(stop, kwargs)
        with self._options_in_key(kwargs):
            return await super().agenerate(prompts, stop, *args, **kwargs)

    def _one_word_each(
        self, stop: list[str] | str | None, kwargs: dict[str, Any]
    ) -> tuple[list[str] | None, dict[str, Any]]:
        """Return a call's options under one name each, so that the cache knows them by whichever name they came."""
        with converted_errors():
            own = {} if stop is None else {"stop": stop}
            kwargs = self._with_aliases_resolved({**kwargs, **own})
        stop = kwargs.pop("stop", None)
        return [stop] if isinstance(stop, str) else stop, kwargs

    @contextmanager
    def _options_in_key(self, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Let ``_identifying_params`` show the options of this call that change its answer."""
        aside = _CORE_ARGUMENTS | self.call_keywords
        options = {name: value for name, value in kwargs.items() if name not in aside}
        token = _call_options.set({"call": sorted(options.items())} if options else {})
        try:
            yield
        finally:
            _call_options.reset(token)

    # ------------------------------------------------------------------ several inputs

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Ask all inputs at once, at most ``max_concurrency`` (of the config, else of the model) at a time.

        With ``return_exceptions`` an input that fails has its error in the list, and the others their answers.
        """
        if return_exceptions and len(inputs) > 1:
            # Core would put the first error in the place of every answer.
            return Runnable.batch(self, inputs, self._bounded(config, inputs), return_exceptions=True, **kwargs)
        return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Ask all inputs at once; see ``batch``."""
        if return_exceptions and len(inputs) > 1:
            return await Runnable.abatch(self, inputs, self._bounded(config, inputs), return_exceptions=True, **kwargs)
        return await super().abatch(inputs, config, return_exceptions=return_exceptions, **kwargs)

    def _bounded(
        self, config: RunnableConfig | list[RunnableConfig] | None, inputs: list[LanguageModelInput]
    ) -> list[RunnableConfig]:
        configs = get_config_list(config, len(inputs))
        return [{**one, "max_concurrency": one.get("max_concurrency") or self.max_concurrency} for one in configs]


def _not_for_a_prompt(message: BaseMessage) -> str | None:
    """Return what of a message core would not write into a text as it has to be, ``None`` if there is nothing."""
    if isinstance(message, ChatMessage) and message.role == "data":
        return "is untrusted text (role data), which a prompt would mix with your own words"
    for block in message.content if isinstance(message.content, list) else ():
        kind = block.get("type") if isinstance(block, dict) else "text"
        if kind not in _WRITTEN_BLOCKS:
            return f"holds a block of type {kind!r}"
    return None


#: Blocks that core writes into a text, and those of an earlier answer that no prompt repeats.
_WRITTEN_BLOCKS = frozenset({"text", "reasoning", "thinking"})

#: Arguments of ``generate`` that are core's own.
_CORE_ARGUMENTS = frozenset({"callbacks", "tags", "metadata", "run_name", "run_id", "timeout"})
