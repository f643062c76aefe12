"""Wrap an LLM of LlamaIndex with Gray Swan's guard, for chats, engines and agents."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator  # noqa: TC003  # pydantic reads the annotations
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
)
from pydantic import ConfigDict, Field, PrivateAttr

from linkspan import cygnal as neutral  # noqa: TC001  # pydantic reads the annotations at run time
from linkspan.fields import SignatureOnDemand
from linkspan.guarding import (
    Action,
    Judgement,
    OnFailure,
    PlaceGuard,
    asettle,
    first_new,
    place_guards,
    place_of,
    settle,
)
from linkspan.llama_index.cygnal import Cygnal, judged_chat_messages
from linkspan.llama_index.judged_answers import as_completion, judged_message, refused, turns_of, warned_answer
from linkspan.llama_index.wrapped_llm import WrappedLLM
from linkspan.providers.cygnal import says_nothing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llama_index.core.base.llms.types import (
        ChatResponseAsyncGen,
        ChatResponseGen,
        CompletionResponseAsyncGen,
        CompletionResponseGen,
    )

    from linkspan.conversation import Message
    from linkspan.guarding import Check, GuardedPlace

__all__ = ["CygnalLLM"]

AnswerT = TypeVar("AnswerT", ChatResponse, CompletionResponse)


class CygnalLLM(WrappedLLM):
    """Wraps an LLM and guards its input and answers; chat engines, query engines and agents use it like any LLM.

    Example:
        >>> guarded = CygnalLLM(llm=Scaleway(model="..."), cygnal=Cygnal(policy_id="..."))
        >>> index.as_chat_engine(llm=guarded).chat("How long is it?")

    Judges three places, each with the preceding conversation; ``None`` turns a place off.

    - ``questions``: the user's messages since the LLM's last turn, and prompts.
    - ``tool_results``: tool results since then, and messages with the data marker. Here the findings `ipi` and
      `mutation` count, too.
    - ``answers``: the LLM's answers, and its tool calls, before an agent runs them. Of several answers to one question
      (``n``, ``best_of``), each text is judged, and one flagged text withholds them all.

    Actions for flagged text: with ``block``, the answer is a notice with a ``refusal`` in its ``additional_kwargs``,
    and a flagged question never reaches the LLM; with ``replace``, a notice replaces the text; with ``warn``, a warning
    is appended; with ``observe``, nothing changes. The memory of a chat engine keeps everything, including flagged
    questions: later checks send them as part of the conversation.

    Everything else is the LLM's: settings, prompts, tools, callbacks, token counts. Structured output is requested as
    the LLM would request it. It is the whole object, or an error: ``ContentBlockedError`` if the answer was withheld.
    An object has no place for a warning: with ``answers="warn"``, it comes without.

    Args:
        llm: The LLM.
        cygnal: The guard. Default: one created from the environment.
        questions: Action for flagged questions.
        tool_results: Action for flagged tool results.
        answers: Action for flagged answers.
        on_failure: How to handle questions and answers while the guard is down: ``raise`` its error, ``closed`` to
            treat them as flagged, ``open`` to let them pass.
        on_tool_failure: The same for tool results.
        raise_on_block: Raise ``ContentBlockedError`` instead of answering with a notice on ``block``.
        hold_streams: Hold back streamed answers until they are judged. Otherwise a flagged answer that must be blocked
            or replaced ends its stream with ``ContentBlockedError``.
        on_judgement: Called with each ``linkspan.guarding.Judgement``.

    Raises:
        ConfigurationError: A setting of the LLM, such as ``system_prompt``, was given here.
        ContentBlockedError: When run: see ``raise_on_block`` and ``hold_streams``. A withheld object.
        LinkspanError: When run: the guard failed.
    """

    # A typo must not leave a place as it is by default.
    model_config = ConfigDict(extra="forbid")

    __signature__: ClassVar[Any] = SignatureOnDemand()

    cygnal: neutral.Cygnal = Field(default_factory=Cygnal)
    questions: Action | None = "block"
    tool_results: Action | None = "replace"
    answers: Action | None = "block"
    on_failure: OnFailure = "raise"
    on_tool_failure: OnFailure = "closed"
    raise_on_block: bool = False
    hold_streams: bool = True
    on_judgement: Callable[[Judgement], None] | None = Field(default=None, exclude=True)

    #: Whether ``warn`` appends its warning to answers.
    _appends_warnings: bool = PrivateAttr(default=True)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "CygnalLLM"

    # ------------------------------------------------------------------ the eight calls

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Judge the messages, chat, judge the answer."""
        asked, refusal = settle(self._judge_input(messages))
        if refusal is not None:
            return refusal
        return settle(self._judge_answer(asked, self.llm.chat(asked, **kwargs)))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Judge the messages, chat, judge the answer."""
        asked, refusal = await asettle(self._judge_input(messages))
        if refusal is not None:
            return refusal
        return await asettle(self._judge_answer(asked, await self.llm.achat(asked, **kwargs)))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Judge the prompt, complete it, judge the answer."""
        asked, refusal = settle(self._judge_input([ChatMessage(prompt)]))
        if refusal is not None:
            return as_completion(refusal)
        return settle(self._judge_answer(asked, self.llm.complete(_prompt(asked), formatted=formatted, **kwargs)))

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Judge the prompt, complete it, judge the answer."""
        asked, refusal = await asettle(self._judge_input([ChatMessage(prompt)]))
        if refusal is not None:
            return as_completion(refusal)
        answer = await self.llm.acomplete(_prompt(asked), formatted=formatted, **kwargs)
        return await asettle(self._judge_answer(asked, answer))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Judge the messages, chat, judge the answer before yielding it."""
        asked, refusal = settle(self._judge_input(messages))
        return _only(refusal) if refusal is not None else self._stream(asked, self.llm.stream_chat(asked, **kwargs))

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Judge the messages, chat, judge the answer before yielding it."""
        asked, refusal = await asettle(self._judge_input(messages))
        if refusal is not None:
            return _aonly(refusal)
        return self._astream(asked, await self.llm.astream_chat(asked, **kwargs))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Judge the prompt, complete it, judge the answer before yielding it."""
        asked, refusal = settle(self._judge_input([ChatMessage(prompt)]))
        if refusal is not None:
            return _only(as_completion(refusal))
        return self._stream(asked, self.llm.stream_complete(_prompt(asked), formatted=formatted, **kwargs))

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Judge the prompt, complete it, judge the answer before yielding it."""
        asked, refusal = await asettle(self._judge_input([ChatMessage(prompt)]))
        if refusal is not None:
            return _aonly(as_completion(refusal))
        return self._astream(asked, await self.llm.astream_complete(_prompt(asked), formatted=formatted, **kwargs))

    # ------------------------------------------------------------------ judging

    def _guards(self) -> dict[GuardedPlace, PlaceGuard]:
        return place_guards(
            self.cygnal,
            {"questions": self.questions, "tool_results": self.tool_results, "answers": self.answers},
            on_failure=self.on_failure,
            on_tool_failure=self.on_tool_failure,
            on_judgement=self.on_judgement,
        )

    def _judge_input(
        self, messages: Sequence[ChatMessage]
    ) -> Generator[Check, Judgement, tuple[list[ChatMessage], ChatResponse | None]]:
        """Judge new messages; return the messages to send, or the answer that refuses them."""
        asked, guards = list(messages), self._guards()
        turns = judged_chat_messages(asked)
        for place in range(first_new([turn.role for turn in turns]), len(asked)):
            guarded = place_of(turns[place])
            if guarded not in guards:
                continue
            judgement = yield guards[guarded].check(turns[: place + 1])
            if judgement.action == "block":
                return asked, self._refusal(judgement)
            asked[place] = judged_message(asked[place], judgement)
            turns[place : place + 1] = judged_chat_messages([asked[place]])
        return asked, None

    def _judge_answer(
        self, asked: Sequence[ChatMessage], answer: AnswerT, pieces: Sequence[AnswerT] = (), *, shown: bool = False
    ) -> Generator[Check, Judgement, AnswerT]:
        """Judge an answer and its pieces; return it or its replacement. One that was shown cannot be replaced.

        Raises:
            ContentBlockedError: The answer must be withheld, and was already shown or ``raise_on_block`` is set.
        """
        guard = self._guards().get("answers")
        if guard is None:
            return answer
        before: list[Message] = judged_chat_messages(asked)
        warning: Judgement | None = None
        for turn in turns_of(answer, "".join(piece.delta or "" for piece in pieces)):
            if says_nothing([turn]):
                continue
            judgement = yield guard.check([*before, turn])
            if judgement.withholds:
                if shown:
                    judgement.raise_if_withheld()
                refusal = self._refusal(judgement, answer.additional_kwargs)
                return refusal if isinstance(answer, ChatResponse) else as_completion(refusal)
            if judgement.action == "warn":
                warning = warning or judgement
        return warned_answer(answer, warning) if warning is not None and self._appends_warnings else answer

    def _refusal(self, judgement: Judgement, withheld: Mapping[str, Any] = MappingProxyType({})) -> ChatResponse:
        if self.raise_on_block:
            judgement.raise_if_blocked()
        return refused(judgement, withheld)

    # ------------------------------------------------------------------ streams

    @property
    def _holds(self) -> bool:
        return self.hold_streams and self.answers in {"block", "replace"}

    def _stream(
        self, asked: Sequence[ChatMessage], pieces: Generator[AnswerT, None, None]
    ) -> Generator[AnswerT, None, None]:
        seen: list[AnswerT] = []
        try:
            for piece in pieces:
                seen.append(piece)
                if not self._holds:
                    yield piece
        finally:
            pieces.close()
        if seen:
            yield from self._end(seen, settle(self._judge_answer(asked, seen[-1], seen, shown=not self._holds)))

    async def _astream(
        self, asked: Sequence[ChatMessage], pieces: AsyncGenerator[AnswerT, None]
    ) -> AsyncGenerator[AnswerT, None]:
        seen: list[AnswerT] = []
        try:
            async for piece in pieces:
                seen.append(piece)
                if not self._holds:
                    yield piece
        finally:
            await pieces.aclose()
        if seen:
            judged = await asettle(self._judge_answer(asked, seen[-1], seen, shown=not self._holds))
            for piece in self._end(seen, judged):
                yield piece

    def _end(self, seen: Sequence[AnswerT], judged: AnswerT) -> Sequence[AnswerT]:
        """Return what a stream must still yield."""
        if judged is seen[-1]:
            return seen if self._holds else []
        return [judged]

    # ------------------------------------------------------------------ objects

    def _object_llm(self) -> CygnalLLM:
        if self.answers != "warn":
            return self
        # A warning after the text of an object would break it.
        plain = self.model_copy()
        plain._appends_warnings = False  # noqa: SLF001  # its own class
        return plain


def _prompt(asked: Sequence[ChatMessage]) -> str:
    return asked[0].content or ""


def _only(answer: AnswerT) -> Generator[AnswerT, None, None]:
    yield answer


async def _aonly(answer: AnswerT) -> AsyncGenerator[AnswerT, None]:
    yield answer
