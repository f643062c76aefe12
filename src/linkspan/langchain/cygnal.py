"""Gray Swan's guard in LangChain: the client with LangChain's messages, and a runnable for chains."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, BaseMessageChunk, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable

from linkspan import cygnal
from linkspan.conversation import Message, Text, Tool
from linkspan.errors import UnsupportedContentError
from linkspan.guarding import PlaceGuard, unjudgeable, with_refusals
from linkspan.langchain.component import LangChainComponent
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.messages import to_conversation
from linkspan.langchain.tools import to_tools
from linkspan.providers.cygnal import CYGNAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from langchain_core.runnables import RunnableConfig

    from linkspan.guarding import Judgement, OnFailure
    from linkspan.providers.cygnal import Turn

__all__ = ["Cygnal", "CygnalGuard", "as_turns", "judged_messages"]

#: Keys of non-text content in blocks.
_BYTES = frozenset({"base64", "data", "file_data"})


class Cygnal(cygnal.Cygnal, LangChainComponent):
    """Gray Swan's guard, with LangChain's messages: ``check`` and ``acheck`` judge texts and conversations.

    Example::

        from linkspan.langchain import Cygnal

        verdict = Cygnal(policy_id="...").check([HumanMessage("How do I pick a lock?")])
        verdict.flagged, verdict.reasons

    Conversations have any form that a chat model accepts; documents count as text from outside. ``CygnalMiddleware``
    adds it to agents, ``CygnalGuard`` to chains.

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, or no key.
        ModelError: A check failed; the error is both langchain-core's and one of ``linkspan.errors``.
    """

    def _turns(self, content: Any) -> str | Sequence[Turn]:
        return as_turns(content)

    def _tool(self, tool: Any) -> Tool:
        return to_tools([tool], CYGNAL.name)[0]


def as_turns(content: Any) -> str | Sequence[Turn]:
    """Convert a text, messages in any form that a chat model accepts, or documents, to the guard's form.

    Raises:
        ConfigurationError: The value is something else.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, PromptValue):
        content = content.to_messages()
    items = list(content) if isinstance(content, (list, tuple)) and not _is_pair(content) else [content]
    return [turn for item in items for turn in _turns_of(item)]


def _is_pair(content: Any) -> bool:
    return isinstance(content, tuple) and len(content) == 2 and all(isinstance(item, str) for item in content)


def _turns_of(item: Any) -> Sequence[Turn]:
    if isinstance(item, Message):
        return [item]
    if isinstance(item, Document):
        return [Message("data", [Text(item.page_content)])]
    if isinstance(item, dict) and "role" in item and item["role"] not in {"human", "ai"}:
        # The API's form, in which a tool's turn needs no call before it; other dicts are LangChain's.
        return [item]
    if isinstance(item, (BaseMessage, tuple, str)) or (isinstance(item, dict) and item.keys() & {"role", "type"}):
        return judged_messages(convert_to_messages([item]))
    raise unjudgeable(item, "documents")


def judged_messages(messages: Sequence[BaseMessage]) -> list[Message]:
    """Convert messages to the guard's form.

    Unknown blocks are judged as JSON, because another provider's model may read them.
    """
    turns = to_conversation([_with_known_blocks(message) for message in messages], CYGNAL.name)
    return with_refusals(turns, [message.additional_kwargs.get("refusal") for message in messages])


def _with_known_blocks(message: BaseMessage) -> BaseMessage:
    if isinstance(message.content, str) or isinstance(message, AIMessage):
        return message
    return message.model_copy(update={"content": [_known(block) for block in message.content]})


def _known(block: Any) -> Any:
    try:
        to_conversation([HumanMessage([block])], CYGNAL.name)
    except UnsupportedContentError:
        return {"type": "text", "text": json.dumps(_without_bytes(block), ensure_ascii=False, default=str)}
    return block


def _without_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        # Anthropic's text documents have their text where others have bytes.
        left_out = frozenset() if value.get("type") == "text" else _BYTES
        return {name: "" if name in left_out else _without_bytes(inner) for name, inner in value.items()}
    return [_without_bytes(inner) for inner in value] if isinstance(value, list) else value


class CygnalGuard(Runnable[Any, Any]):
    """A chain step that passes its input unchanged, and raises if the guard flags it.

    Example::

        guard = CygnalGuard(Cygnal(policy_id="..."))
        chain = prompt | guard | model | guard
        sorry = RunnableLambda(lambda _: "I may not answer this.")
        safe = chain.with_fallbacks([sorry], exceptions_to_handle=(ContentBlockedError,))

    A streamed answer is held back until the whole was judged. Judges texts, messages, prompts and documents.

    Args:
        cygnal: The guard. Default: one created from the environment.
        on_failure: How to handle text while the guard is down: ``raise`` its error, ``open`` to let it pass, ``closed``
            to raise ``ContentBlockedError``.
        untrusted: Whether the input comes from outside, so that `ipi` and `mutation` flag it. Default: whether it ends
            with a tool's message, a data message or a document.
        on_judgement: Called with each ``linkspan.guarding.Judgement``.

    Raises:
        ContentBlockedError: When run: the input is flagged.
        ModelError: When run: the guard failed.
    """

    def __init__(
        self,
        cygnal: cygnal.Cygnal | None = None,
        *,
        on_failure: OnFailure = "raise",
        untrusted: bool | None = None,
        on_judgement: Callable[[Judgement], None] | None = None,
    ) -> None:
        self._guard = PlaceGuard(cygnal or Cygnal(), "answers", "block", on_failure, on_judgement)
        self._untrusted = untrusted

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002  # core's name
        """Return the input if it is not flagged.

        Raises:
            ContentBlockedError: The input is flagged.
        """
        return self._call_with_config(self._passed, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002  # core's
        """Return the input if it is not flagged.

        Raises:
            ContentBlockedError: The input is flagged.
        """
        return await self._acall_with_config(self._apassed, input, config)

    def transform(self, input: Iterator[Any], config: RunnableConfig | None = None, **_: Any) -> Iterator[Any]:  # noqa: A002  # core's
        """Judge a stream at its end, then yield its pieces."""
        yield from self._transform_stream_with_config(input, self._pieces, config)

    async def atransform(
        self,
        input: AsyncIterator[Any],  # noqa: A002  # core's name
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> AsyncIterator[Any]:
        """Judge a stream at its end, then yield its pieces."""
        async for piece in self._atransform_stream_with_config(input, self._apieces, config):
            yield piece

    def _passed(self, content: Any) -> Any:
        with converted_errors():
            self._guard.check(as_turns(content), untrusted=self._untrusted).ask().raise_if_blocked()
        return content

    async def _apassed(self, content: Any) -> Any:
        with converted_errors():
            (await self._guard.check(as_turns(content), untrusted=self._untrusted).aask()).raise_if_blocked()
        return content

    def _pieces(self, stream: Iterator[Any]) -> Iterator[Any]:
        pieces = list(stream)
        if pieces:
            self._passed(_joined(pieces))
        yield from pieces

    async def _apieces(self, stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
        pieces = [piece async for piece in stream]
        if pieces:
            await self._apassed(_joined(pieces))
        for piece in pieces:
            yield piece


def _joined(pieces: Sequence[Any]) -> Any:
    if any(isinstance(piece, BaseMessage) and not isinstance(piece, BaseMessageChunk) for piece in pieces):
        # Whole messages, which core would add up to a prompt template.
        return list(pieces)
    whole = pieces[0]
    try:
        for piece in pieces[1:]:
            whole = whole + piece
    except TypeError:
        # Documents one by one, say.
        return list(pieces)
    return whole
