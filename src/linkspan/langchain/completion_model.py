"""Base class of linkspan's completion models for LangChain.

Core's convenience class sends prompts one by one and mishandles callbacks, usage and cache keys. This class sends them
concurrently (bounded) and keeps everything that the API returns.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from enum import EnumMeta
from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import Runnable
from pydantic import Field

from linkspan.assembler import Assembler
from linkspan.concurrency import acall_each, call_each
from linkspan.errors import ConfigurationError
from linkspan.langchain.chunks import several_answers
from linkspan.langchain.completion_inputs import CompletionInputs
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.generations import to_generation_chunk, to_llm_result
from linkspan.langchain.tools import Method
from linkspan.options import refuse_chat_keywords
from linkspan.owned_generator import OwnedGenerator
from linkspan.unreadable import building_answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.outputs import GenerationChunk, LLMResult

    from linkspan.conversation import Completion, Delta, PromptRequest
    from linkspan.providers.codec import Codec

__all__ = ["LinkspanLLM"]

#: Keywords of chat models that completion APIs do not support.
_CHAT_KEYWORDS = ("tools", "tool_choice", "response_format")


class LinkspanLLM(CompletionInputs):
    """Abstract base of the completion models.

    A provider's settings implement ``_schema_options`` and ``_choice_options``: how its API constrains an answer.

    ``generation_info`` of an answer, in a stream on the last chunk: ``finish_reason`` (if the API gives one),
    ``model_name``, ``request_id``, ``token_usage``, ``logprobs`` (an entry per token), and every other field of the API
    under its own name. ``llm_output`` has ``model_name`` and ``token_usage`` of all prompts together.
    """

    _ls_model_type: ClassVar[Any] = "llm"

    streaming: bool = Field(
        default=False,
        description="Stream in `invoke`, too, so that callbacks receive each token. Several prompts at once are "
        "not streamed.",
    )

    # ------------------------------------------------------------------ generate and stream

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
            answers = call_each(
                requests, lambda asked: endpoint.complete(asked[0], timeout=asked[1]), self.max_concurrency
            )
            return self._result(answers, requests)

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
            gate = asyncio.Semaphore(self.max_concurrency)
            answers = await acall_each(requests, lambda asked: endpoint.acomplete(asked[0], timeout=asked[1]), gate)
            return self._result(answers, requests)

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
            async with OwnedGenerator(self._endpoint().abatches(request, assembler, timeout=timeout)) as batches:
                async for deltas in batches:
                    for delta in deltas:
                        chunk = self._chunk(delta, assembler, model)
                        if run_manager is not None:
                            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk

    def _chunk(self, delta: Delta, assembler: Assembler, model: str | None) -> GenerationChunk:
        with building_answer(self._provider.name, assembler):
            assembler.add(delta)
            if delta.choice:
                raise several_answers(self._provider.name, assembler)
            return to_generation_chunk(delta, assembler, model)

    def _streams(self, prompts: list[str], kwargs: Mapping[str, Any]) -> bool:
        # Core passes only the first prompt's callbacks.
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
        """Return the request of a prompt, and the call's timeout."""
        options = self._call_options(kwargs, stop)
        refuse_chat_keywords(self, options.keywords, _CHAT_KEYWORDS)
        return self._prompt_request_of(prompt, options), options.timeout

    def _result(self, completions: list[Completion], requests: list[tuple[PromptRequest, float | None]]) -> LLMResult:
        with building_answer(self._provider.name):
            model = self._label(requests[0][0].model if requests else None)
            return to_llm_result(completions, self._provider.name, model)

    # ------------------------------------------------------------------ structured output

    @converted_errors()
    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Method = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable that returns objects of a schema, which the server enforces.

        Args:
            schema: A pydantic class (the answer is an instance), a TypedDict class, a JSON schema (a dict), or an
                ``Enum`` of texts (the answer is a member).
            include_raw: Return ``{"raw", "parsed", "parsing_error"}`` and raise no parsing error.
            method: Must be ``"json_schema"``: completion models have no tools, and their APIs have no JSON mode.
            strict: With ``True`` all fields are required and no others are allowed.
            **kwargs: Bound unchanged.

        Raises:
            ConfigurationError: If the schema is unusable, or the method is unsupported.
            OutputParserException: (of langchain-core, at the call) If the answer does not match the schema, because it
                was cut off or the deployment does not enforce schemas.
        """
        if method != "json_schema":
            raise ConfigurationError(
                f"{type(self).__name__} supports method='json_schema', not {method!r}: use the chat class of this API.",
                provider=self._provider.name,
            )
        from linkspan.langchain import answer_parsers, structured_output  # noqa: PLC0415  # parsers take long to load

        if isinstance(schema, EnumMeta):
            options = self._choice_options(answer_parsers.choices_of(schema))
            parser: Any = answer_parsers.ChoiceParser(target=schema)
        else:
            json_schema = answer_parsers.json_schema_of(schema, strict)
            options = self._schema_options(json_schema)
            parser = answer_parsers.AnswerParser.for_schema(schema, json_schema)
        asked = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        bound = self.bind(**options, ls_structured_output_format=asked, **kwargs)
        return structured_output.parsed(bound, parser, include_raw=include_raw)

    def _create_codec(self) -> Codec[Any]:
        return self._prompt_codec()

    if TYPE_CHECKING:

        def _prompt_codec(self) -> Codec[Any]: ...

        def _schema_options(self, schema: Mapping[str, Any]) -> dict[str, Any]: ...

        def _choice_options(self, choices: list[str]) -> dict[str, Any]: ...

    # ------------------------------------------------------------------ what LangChain queries

    @property
    def _llm_type(self) -> str:
        return self._provider.name.replace("_", "-")
