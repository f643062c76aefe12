"""What stands behind every dialect of the sandbox: an engine answers a neutral call with a stream of pieces.

A dialect (one module per API) reads its wire request into a :class:`Call`, asks the engine, and writes the pieces in
its own words. An engine knows no dialect, a dialect no engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Union, runtime_checkable

from linkspan.conversation import Delta

__all__ = ["Call", "ConnectionCut", "Engine", "EngineError", "Guide", "HTTPAnswer", "Interceptor", "Piece", "RawEvent"]


@dataclass(slots=True, frozen=True)
class Guide:
    """What the answer's text must look like, for APIs with guided decoding.

    Args:
        kind: ``"json"`` (``value`` is a JSON Schema), ``"choice"`` (a list of texts), ``"regex"`` (a pattern of the
            whole text) or ``"grammar"`` (in GBNF).
        value: The constraint itself.
    """

    kind: Literal["json", "choice", "regex", "grammar"]
    value: Any


@dataclass(slots=True)
class Call:
    """One request to a model, as every dialect can say it.

    Args:
        api: The dialect it came through, such as ``"scaleway"``.
        model: The model asked for.
        messages: The conversation as Chat Completions messages (dicts with ``role`` and ``content``); empty for an
            API that takes a prompt.
        prompt: The prompt, exactly as the model is to read it (texts of special tokens stand for the tokens); ``None``
            for a chat API.
        stream: Whether the client asked for a stream.
        max_tokens: Limit of the answer in tokens; ``None`` for the model's own.
        stop: Texts that end the answer. The last delta's ``extra["stop_text"]`` tells which one did.
        keep_stop: Whether the stop text is part of the answer, as its end.
        parameters: Sampling parameters under their Chat Completions names, and ``repetition_penalty`` and
            ``typical_p``; only those that the client sent.
        tools: Chat Completions tool objects.
        tool_choice: ``"auto"``, ``"none"``, ``"required"`` or the object that names a function.
        response_format: The Chat Completions object.
        guide: What the text must look like.
        logprobs: Number of alternatives per token; ``None`` for no log probabilities at all.
        tokens: For a prompt: hand out each token as a delta of its own whose ``logprobs`` is that one token, with its
            id, text, log probability and whether it is special. The token that ends the answer is handed out too, with
            ``text=""`` (special tokens are never part of the text), and counts in the usage.
        prompt_tokens: For a prompt: the first delta's ``extra["prompt_tokens"]`` lists the prompt's tokens as
            :class:`~linkspan.conversation.TokenLogprob`, with ``logprob=None`` where the engine does not know it.
        truncate: For a prompt: only its last so many tokens are read.
        context_window: Tokens of prompt and answer together, where the dialect knows the model.
        route: ``"embeddings"``, ``"rerank"``, ``"transcriptions"``, ``"ocr"`` or ``"monitor"`` for a call that asks no
            language model; its ``prompt`` is what is embedded (one text a line), the query, the file's name or the
            document's address, its ``messages`` what is judged. Such calls never come to :meth:`Engine.answer`.
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
        """Role of the last message, ``None`` for a prompt."""
        return str(self.messages[-1].get("role")) if self.messages else None

    @property
    def last_user_text(self) -> str:
        """Text of the last user message; the prompt where there are no messages; ``""`` if there is neither."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return text_of(message.get("content"))
        return self.prompt or ""

    @property
    def forced_tool(self) -> str | None:
        """Name of the function that must be called, the first one if any will do, ``None`` if none must."""
        if isinstance(self.tool_choice, Mapping):
            return str(self.tool_choice["function"]["name"])
        if self.tool_choice == "required" and self.tools:
            return str(self.tools[0]["function"]["name"])
        return None


def text_of(content: Any) -> str:
    """Return the text of a message's content: the string itself, or its text parts one after the other."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    return ""


@dataclass(slots=True)
class RawEvent:
    """An event of a stream that the dialect sends on exactly as it is: the ``data`` of a server-sent event."""

    data: str


@dataclass(slots=True)
class HTTPAnswer:
    """A whole HTTP answer in place of the model's; it can only be the first piece.

    ``body`` is JSON, text or bytes; ``None`` lets the dialect write its own error body for the status.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str | None = None


#: What an engine yields. ``Delta.finish_reason`` is ``stop``, ``length``, ``tool_calls`` or ``content_filter``.
Piece = Union[Delta, RawEvent, HTTPAnswer]


class EngineError(Exception):
    """The engine cannot answer. A dialect turns it into its own error, or error event once a stream has begun.

    Args:
        message: What is wrong, for the person who sent the request.
        status: The HTTP status that fits.
        kind: ``"context_overflow"`` for a prompt that is too long, else ``"error"``.
    """

    def __init__(self, message: str, *, status: int = 500, kind: str = "error") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind


class ConnectionCut(Exception):
    """Close the client's connection here, without ending the answer."""


class Engine(Protocol):
    """A source of answers."""

    #: As it is called on the command line.
    name: str
    #: The model that really answers, ``None`` where the engine answers as whatever was asked for.
    served_model: str | None
    #: That model's context window in tokens, ``None`` likewise.
    context_window: int | None

    async def start(self) -> None:
        """Get ready; called once, in the server's event loop."""

    async def stop(self) -> None:
        """Release everything."""

    def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        """Yield the answer piece by piece; closed early when the client leaves.

        Raises:
            EngineError: If the call cannot be answered.
            ConnectionCut: To close the connection.
        """
        ...


@runtime_checkable
class Interceptor(Protocol):
    """An engine that may step in where a dialect answers by itself: every route without a language model."""

    async def intercept(self, call: Call) -> HTTPAnswer | str | None:
        """Return what is answered instead, ``None`` to let the dialect answer.

        A text is what is said in a file or stands in it, for transcription and OCR.

        Raises:
            EngineError: To fail in the API's own words.
            ConnectionCut: To close the connection.
        """
        ...
