"""Neutral objects between frameworks and APIs: plain and typed, without I/O, framework or wire format.

A framework's adapter converts messages to a :class:`ChatRequest` or :class:`PromptRequest`. A provider's codec encodes
it as JSON, and decodes the answer as a :class:`Completion`, or a stream's events as :class:`Delta` objects.
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

#: Who speaks. ``data`` is untrusted text, whose instructions the model must not follow.
Role = Literal["system", "user", "assistant", "tool", "data"]


@dataclass(slots=True)
class Text:
    """Plain text."""

    text: str


@dataclass(slots=True)
class Image:
    """An image: either a ``url``, passed on unchanged, or ``base64`` data with its ``media_type``.

    ``detail`` is the requested resolution (``"auto"``, ``"low"``, ``"high"``), sent only if set.
    """

    url: str | None = None
    base64: str | None = None
    media_type: str | None = None
    detail: str | None = None


@dataclass(slots=True)
class Audio:
    """Audio: ``base64`` data in ``format`` (``"wav"``, ``"mp3"``, …), or a ``url``."""

    base64: str | None = None
    format: str | None = None
    url: str | None = None


@dataclass(slots=True)
class Video:
    """A video: ``base64`` data with its ``media_type``, or a ``url``."""

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
    """The model's reasoning before its answer.

    ``encrypted`` has forms that only the server can read, instead of the text or in addition to it. In answers they
    are in ``extra``, under ``ENCRYPTED_REASONING``.
    """

    text: str
    encrypted: Sequence[str] = ()


@dataclass(slots=True)
class UnknownPart:
    """A part that linkspan does not model. Codecs refuse it by name; it is never dropped."""

    kind: str


#: The key in an answer's ``extra`` of encrypted forms of its reasoning.
ENCRYPTED_REASONING = "encrypted_reasoning"

#: Advice for untrusted text if an API or a template has no role for it.
DATA_ROLE_ADVICE = (
    "Untrusted text is never sent silently under another role: pass data_role='fenced' to have it rendered as a marked "
    "user turn, or use an API with the role (Gray Swan)."
)

Part = Union[Text, Image, Audio, Video, File, Reasoning, UnknownPart]


def kind_of_part(part: Part) -> str:
    """Return the kind of a part, for errors: ``"image"``, or the type of an unknown part."""
    return part.kind if isinstance(part, UnknownPart) else type(part).__name__.lower()


@dataclass(slots=True)
class ToolCall:
    """A call requested by the model. ``arguments`` is JSON text exactly as the model wrote it, ``"{}"`` if empty.

    ``problem`` is the reason why a call must not run: its arguments are not one whole JSON object, for example because
    ``max_tokens`` cut them off. ``None`` for a sound call.
    """

    id: str | None
    name: str
    arguments: str
    problem: str | None = None


@dataclass(slots=True)
class Tool:
    """A function that the model may call. ``parameters`` is a JSON Schema object."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool | None = None

    def as_function(self) -> dict[str, Any]:
        """Return name, description and parameters as JSON, the form of APIs and chat templates."""
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

    ``parts`` is the content, in order; empty for an assistant turn that only calls tools. ``name`` is the speaker's, or
    that of the tool whose result this is. A ``tool`` turn answers the call ``tool_call_id``; ``is_error``: it failed.
    """

    role: Role
    parts: Sequence[Part] = ()
    name: str | None = None
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str | None = None
    is_error: bool = False

    def marked_if_failed(self, text: str) -> str:
        """Return the text of a tool's result, marked if it is an error, because few APIs have a field for that."""
        return f"Error: {text}" if self.is_error and "error" not in text[:40].lower() else text


@dataclass(slots=True)
class ResponseFormat:
    """The required form of the answer.

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

    ``parameters`` has only values set by the user, under the API's names (``temperature``, ``max_tokens``, …).
    ``extra_body`` is merged into the body last and unchanged; ``extra_headers`` are sent with this call only.
    ``stream_usage`` requests token counts in a stream, for APIs that need it. ``send_reasoning`` sends reasoning of
    earlier turns back. ``data_role`` handles untrusted text if the API has no role for it: ``"error"`` refuses it,
    ``"fenced"`` sends it as a marked user turn. ``tool_results="data"`` treats tool results as untrusted text.
    ``model_origin`` is the model's source, if the server's list has it.
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
    """A completion call for a prompt API. For the fields see :class:`ChatRequest`."""

    model: str | None
    prompt: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stop: Sequence[str] = ()
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    extra_headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Usage:
    """Token counts from the server; ``None`` if the server did not send one.

    ``cached_tokens`` are part of ``input_tokens``, ``reasoning_tokens`` part of ``output_tokens``. ``raw`` is the
    server's object.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    raw: Mapping[str, Any] | None = None

    def counts(self) -> dict[str, int]:
        """Return the known counts under Chat Completions' names, which both frameworks' own code looks for."""
        named = {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.total_tokens,
        }
        return {name: count for name, count in named.items() if count is not None}


class TokenLogprob(NamedTuple):
    """A generated token and its log probability (``None`` if the server did not send it).

    ``top`` has the most likely alternatives at this position. A tuple, because it is small, and there are many.
    """

    token: str
    logprob: float | None
    bytes: Sequence[int] | None = None
    id: int | None = None
    special: bool | None = None
    top: Sequence[TokenLogprob] = ()


@dataclass(slots=True)
class ToolCallDelta:
    """A piece of a tool call, normalized by the codec.

    For each ``index``, ``id`` and ``name`` come exactly once, before or with the first arguments. ``arguments`` is the
    next piece of JSON text, never ``None``.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(slots=True)
class Delta:
    """One step of a streamed answer.

    ``usage`` is the total so far and replaces an earlier one. ``finish_reason`` comes once per choice. ``choice`` is
    the number of the answer if several were requested. ``extra`` has fields that linkspan does not model. ``last``
    marks the one step that ends the stream, with ``usage``, ``model``, ``request_id`` and ``extra``.
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

    ``finish_reason`` is the API's own value; ``None`` if it has none. ``model`` is the model that answered.
    ``request_id`` comes from the answer's headers, ``id`` from its body. ``extra`` has every field that linkspan does
    not model; ``alternatives`` the further answers if several were requested. ``raw`` is the body as received, ``None``
    for a streamed answer. ``rate_limit`` has the rate limits from the answer's headers.
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
    rate_limit: dict[str, int | str] | None = None
