"""The neutral language between frameworks and APIs: plain typed objects, no I/O, no framework, no wire format.

A framework adapter turns its messages into a :class:`ChatRequest` or :class:`PromptRequest`; a provider's codec turns
that into JSON and the answer into a :class:`Completion`, or a stream's events into :class:`Delta` objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DATA_ROLE_ADVICE",
    "ENCRYPTED_REASONING",
    "Audio",
    "ChatRequest",
    "Completion",
    "Delta",
    "File",
    "Image",
    "Message",
    "NamedTool",
    "Part",
    "PromptRequest",
    "Reasoning",
    "ResponseFormat",
    "Role",
    "Text",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolChoice",
    "UnknownPart",
    "Usage",
    "Video",
    "kind_of_part",
]

#: Who speaks. ``data`` is untrusted text whose instructions are not to be obeyed.
Role = Literal["system", "user", "assistant", "tool", "data"]


# --------------------------------------------------------------------------- parts of a message


@dataclass(slots=True)
class Text:
    """Plain text."""

    text: str


@dataclass(slots=True)
class Image:
    """An image: either a ``url`` that is passed on as it is, or ``base64`` data with its ``media_type``.

    ``detail`` is the caller's wish for the resolution (``"auto"``, ``"low"``, ``"high"``), sent only if given.
    """

    url: str | None = None
    base64: str | None = None
    media_type: str | None = None
    detail: str | None = None


@dataclass(slots=True)
class Audio:
    """A sound: ``base64`` data in ``format`` (``"wav"``, ``"mp3"``, …), or a ``url``."""

    base64: str | None = None
    format: str | None = None
    url: str | None = None


@dataclass(slots=True)
class Video:
    """A film: ``base64`` data with its ``media_type``, or a ``url``."""

    base64: str | None = None
    media_type: str | None = None
    url: str | None = None


@dataclass(slots=True)
class File:
    """A document such as a PDF."""

    base64: str | None = None
    media_type: str | None = None
    url: str | None = None
    file_id: str | None = None
    filename: str | None = None


@dataclass(slots=True)
class Reasoning:
    """What the model thought before it answered.

    ``encrypted`` holds forms of it that only the server reads; some servers give them in place of the text or beside
    it. In answers they are found in ``extra``, under ``ENCRYPTED_REASONING``.
    """

    text: str
    encrypted: Sequence[str] = ()


@dataclass(slots=True)
class UnknownPart:
    """A part that linkspan has no word for. Codecs refuse it by name; it is never dropped."""

    kind: str


#: The field of an answer's ``extra`` that lists encrypted forms of its reasoning.
ENCRYPTED_REASONING = "encrypted_reasoning"

#: What to do about untrusted text where an API, or a template, has no role for it.
DATA_ROLE_ADVICE = (
    "Untrusted text is never sent silently under another role: pass data_role='fenced' to have it rendered as a marked "
    "user turn, or use an API with the role (Gray Swan)."
)

Part = Union[Text, Image, Audio, Video, File, Reasoning, UnknownPart]


def kind_of_part(part: Part) -> str:
    """Return the kind of a part, for errors: ``"image"``, or the name that an unknown part came with."""
    return part.kind if isinstance(part, UnknownPart) else type(part).__name__.lower()


# --------------------------------------------------------------------------- tools and messages


@dataclass(slots=True)
class ToolCall:
    """A call that the model asks for. ``arguments`` is JSON text exactly as the model wrote it, ``"{}"`` if empty.

    ``problem`` says why a call of an answer must not run: its arguments are not one whole JSON object, for example
    because ``max_tokens`` cut them off. ``None`` for a sound call.
    """

    id: str | None
    name: str
    arguments: str
    problem: str | None = None


@dataclass(slots=True)
class Tool:
    """A function the model may call. ``parameters`` is a JSON Schema object."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool | None = None

    def as_function(self) -> dict[str, Any]:
        """Return name, description and parameters as JSON, as APIs and chat templates alike write a function."""
        function: dict[str, Any] = {"name": self.name}
        if self.description is not None:
            function["description"] = self.description
        function["parameters"] = dict(self.parameters) or {"type": "object", "properties": {}}
        return function


@dataclass(slots=True, frozen=True)
class NamedTool:
    """The tool choice "call exactly this one"."""

    name: str


ToolChoice = Union[Literal["auto", "none", "required"], NamedTool]


@dataclass(slots=True)
class Message:
    """One turn of a conversation.

    Args:
        role: Who speaks.
        parts: The content, in order. Empty means no content (an assistant turn that only calls tools).
        name: Name of the speaker, or of the tool whose result this is.
        tool_calls: Calls of an assistant turn.
        tool_call_id: The call that a ``tool`` turn answers.
        is_error: A ``tool`` turn that reports a failure.
    """

    role: Role
    parts: Sequence[Part] = ()
    name: str | None = None
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str | None = None
    is_error: bool = False

    def marked_if_failed(self, text: str) -> str:
        """Return the text of a tool's result, marked as an error if it is one: few APIs have a field for that."""
        return f"Error: {text}" if self.is_error and "error" not in text[:40].lower() else text


@dataclass(slots=True)
class ResponseFormat:
    """The shape the answer must have.

    ``kind`` is ``"json_schema"`` (with ``schema``, ``name`` and perhaps ``strict``), ``"json_object"`` or ``"text"``.
    """

    kind: Literal["json_schema", "json_object", "text"]
    schema: Mapping[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None
    description: str | None = None


@dataclass(slots=True)
class ChatRequest:
    """A chat call.

    ``parameters`` holds only what the user set, under the API's own names (``temperature``, ``max_tokens``, …).
    ``extra_body`` is merged into the body last, as it is; ``extra_headers``
    are sent with this call only. ``stream_usage`` asks for token counts in a stream where that
    has to be asked for. ``send_reasoning`` sends reasoning of earlier turns back. ``data_role`` says what becomes of
    untrusted text on an API without that role: ``"error"`` refuses it, ``"fenced"`` renders it as a marked user turn.
    ``tool_results="data"`` counts what tools return as untrusted text too. ``model_origin`` is what the model was
    loaded from, where the server's list says it.
    """

    model: str | None
    messages: Sequence[Message]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stop: Sequence[str] = ()
    tools: Sequence[Tool] = ()
    tool_choice: ToolChoice | None = None
    response_format: ResponseFormat | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    stream_usage: bool = True
    send_reasoning: bool = False
    data_role: Literal["error", "fenced"] = "error"
    tool_results: Literal["tool", "data"] = "tool"
    model_origin: str | None = None


@dataclass(slots=True)
class PromptRequest:
    """A completion call for an API that takes one text. Fields as in :class:`ChatRequest`."""

    model: str | None
    prompt: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stop: Sequence[str] = ()
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    extra_headers: Mapping[str, str] = field(default_factory=dict)


# --------------------------------------------------------------------------- answers


@dataclass(slots=True)
class Usage:
    """Token counts as the server gave them; a field it did not give is ``None``.

    ``cached_tokens`` are part of ``input_tokens``, ``reasoning_tokens`` part of ``output_tokens``. ``raw`` is the
    server's own object.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    raw: Mapping[str, Any] | None = None


class TokenLogprob(NamedTuple):
    """A generated token and its log probability (``None`` where the server could not say).

    ``top`` holds the most likely alternatives at this place. A tuple, as there are as many as tokens: it is small, and
    the garbage collector soon leaves it alone.
    """

    token: str
    logprob: float | None
    bytes: Sequence[int] | None = None
    id: int | None = None
    special: bool | None = None
    top: Sequence[TokenLogprob] = ()


@dataclass(slots=True)
class ToolCallDelta:
    """A piece of a tool call, already tidied up by the codec.

    For each ``index`` the ``id`` and the ``name`` come exactly once, before or with the first arguments; ``arguments``
    is the next piece of JSON text, never ``None``.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(slots=True)
class Delta:
    """One step of a streamed answer.

    ``usage``, if there, is the total so far and replaces an earlier one. ``finish_reason`` comes once per choice.
    ``choice`` numbers the answer when several were asked for. ``extra`` holds fields that linkspan has no word for.
    ``last`` marks the step that ends the stream: exactly one, with ``usage``, ``model``, ``request_id`` and ``extra``.
    """

    text: str = ""
    id: str | None = None
    reasoning: str = ""
    tool_calls: Sequence[ToolCallDelta] = ()
    refusal: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    logprobs: Sequence[TokenLogprob] | None = None
    model: str | None = None
    request_id: str | None = None
    choice: int = 0
    extra: Mapping[str, Any] | None = None
    last: bool = False


@dataclass(slots=True)
class Completion:
    """A whole answer.

    ``finish_reason`` is the API's own word, ``None`` where it gives none. ``model`` is what served the call.
    ``request_id`` comes from the answer's headers, ``id`` from its body. ``extra`` holds every field that linkspan has
    no word for; ``alternatives`` the further answers when several were asked for. ``raw`` is the body as received,
    ``None`` for an answer put together from a stream. ``rate_limit`` is what the answer's headers say about rate limits
    (:func:`linkspan.rate_limits.rate_limit_of`).
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    refusal: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    logprobs: list[TokenLogprob] | None = None
    id: str | None = None
    model: str | None = None
    request_id: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    alternatives: list[Completion] = field(default_factory=list)
    raw: Mapping[str, Any] | None = None
    rate_limit: dict[str, int | float | str] | None = None
