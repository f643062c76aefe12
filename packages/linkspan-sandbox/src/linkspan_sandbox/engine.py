"""Engines, which answer the calls of every dialect: a neutral call in, a stream of pieces out.

A dialect (one module per API) parses its wire request into a :class:`Call`, calls the engine and encodes the pieces in
its own format. Engines and dialects do not know each other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Union, runtime_checkable

from linkspan.conversation import Delta

__all__ = ["Call", "ConnectionCut", "Engine", "EngineError", "Guide", "HTTPAnswer", "Interceptor", "Piece", "RawEvent"]


@dataclass(slots=True, frozen=True)
class Guide:
    """A constraint on the answer's text, for APIs with guided decoding.

    Args:
        kind: ``"json"`` (``value`` is a JSON Schema), ``"choice"`` (a list of texts), ``"regex"`` (a pattern for the
            whole text) or ``"grammar"`` (in GBNF).
        value: The constraint itself.
    """

    kind: Literal["json", "choice", "regex", "grammar"]
    value: Any


@dataclass(slots=True)
class Call:
    """One request to a model, independent of the dialect.

    Args:
        api: The dialect that received it, such as ``"scaleway"``.
        model: The requested model.
        messages: The conversation as Chat Completions messages (dicts with ``role`` and ``content``); empty for an
            API that takes a prompt.
        prompt: The prompt, exactly as the model reads it (the text of a special token represents the token); ``None``
            for a chat API.
        stream: Whether the client requested a stream.
        max_tokens: Limit of the answer in tokens; ``None`` for the model's limit.
        stop: Texts that end the answer. The last delta's ``extra["stop_text"]`` is the one that matched.
        keep_stop: Whether the answer keeps the stop text at its end.
        parameters: The sampling parameters that the client sent, under their Chat Completions names, plus
            ``repetition_penalty`` and ``typical_p``.
        tools: Chat Completions tool objects.
        tool_choice: ``"auto"``, ``"none"``, ``"required"`` or an object that names a function.
        response_format: The Chat Completions object.
        guide: The constraint on the text.
        logprobs: Number of alternatives per token; ``None`` for no log probabilities.
        tokens: For a prompt: yield each token as a separate delta. Its ``logprobs`` is that one token, with id, text,
            log probability and whether it is special. The end token is yielded too, with ``text=""`` (special tokens
            are never part of the text), and counts in the usage.
        prompt_tokens: For a prompt: the first delta's ``extra["prompt_tokens"]`` lists the prompt's tokens as
            :class:`~linkspan.conversation.TokenLogprob`, with ``logprob=None`` if the engine does not know it.
        truncate: For a prompt: read only its last ``truncate`` tokens.
        context_window: Tokens of prompt and answer together, if the dialect knows the model.
        route: ``"embeddings"``, ``"rerank"``, ``"transcriptions"``, ``"ocr"`` or ``"monitor"`` for a call without a
            language model. ``prompt`` is then the texts to embed (one per line), the query, the file's name or the
            document's address; ``messages`` is the conversation to judge. Such calls never reach :meth:`Engine.answer`.
    """

    api: str
    model: str
    messages: Sequence[Mapping[str, Any]] = ()
    prompt: str | None = None
    stream: bool = False
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    keep_stop: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    guide: Guide | None = None
    logprobs: int | None = None
    tokens: bool = False
    prompt_tokens: bool = False
    truncate: int | None = None
    context_window: int | None = None
    route: str | None = None

    @property
    def last_role(self) -> str | None:
        """Role of the last message; ``None`` for a prompt."""
        return str(self.messages[-1].get("role")) if self.messages else None

    @property
    def last_user_text(self) -> str:
        """Text of the last user message; without messages the prompt, else ``""``."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return text_of(message.get("content"))
        return self.prompt or ""

    @property
    def forced_tool(self) -> str | None:
        """Name of the function that must be called: the first one if any may be, ``None`` if a call is optional."""
        if isinstance(self.tool_choice, Mapping):
            return str(self.tool_choice["function"]["name"])
        if self.tool_choice == "required" and self.tools:
            return str(self.tools[0]["function"]["name"])
        return None


def text_of(content: Any) -> str:
    """Return the text of a message's content: the string, or its text parts joined."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    return ""


@dataclass(slots=True)
class RawEvent:
    """The ``data`` of a server-sent event, which the dialect sends unchanged."""

    data: str


@dataclass(slots=True)
class HTTPAnswer:
    """A whole HTTP answer that replaces the model's; it must be the first piece.

    ``body`` is JSON, text or bytes; ``None`` sends the dialect's error body for the status.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str | None = None


#: What an engine yields. ``Delta.finish_reason`` is ``stop``, ``length``, ``tool_calls`` or ``content_filter``.
Piece = Union[Delta, RawEvent, HTTPAnswer]


class EngineError(Exception):
    """Raised if the engine cannot answer. The dialect sends its own error, or an error event once a stream has begun.

    Args:
        message: What is wrong, for the sender of the request.
        status: The HTTP status.
        kind: ``"context_overflow"`` for a prompt that is too long, else ``"error"``.
    """

    def __init__(self, message: str, *, status: int = 500, kind: str = "error") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind


class ConnectionCut(Exception):
    """Raised to close the client's connection here, without ending the answer."""


class Engine(Protocol):
    """A source of answers."""

    #: The engine's name on the command line.
    name: str
    #: The model that really answers; ``None`` if the engine answers under the requested name.
    served_model: str | None
    #: That model's context window in tokens; ``None`` likewise.
    context_window: int | None

    async def start(self) -> None:
        """Start the engine; called once, in the server's event loop."""

    async def stop(self) -> None:
        """Release everything."""

    def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        """Yield the answer piece by piece; closed early when the client leaves.

        Raises:
            EngineError: The call cannot be answered.
            ConnectionCut: To close the connection.
        """
        ...


@runtime_checkable
class Interceptor(Protocol):
    """An engine that can also answer routes without a language model, in place of the dialect."""

    async def intercept(self, call: Call) -> HTTPAnswer | str | None:
        """Return the answer, or ``None`` to let the dialect answer.

        For transcription and OCR, a text is the content of the file.

        Raises:
            EngineError: To answer with the API's own error.
            ConnectionCut: To close the connection.
        """
        ...
