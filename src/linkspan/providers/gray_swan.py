"""Gray Swan Cygnet: its differences from the Chat Completions dialect.

Source: docs/apis/gray_swan.md. Cygnal, Gray Swan's guard, is another product: see :mod:`linkspan.providers.cygnal`. Its
proxy for other APIs' models is not covered.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from linkspan.conversation import Image, NamedTool, Reasoning
from linkspan.errors import ConfigurationError, LinkspanError, NotFoundError, UnsupportedContentError
from linkspan.json_schema import standing_alone
from linkspan.providers.catalog import ModelInfo, model_info
from linkspan.providers.chat_completions import ChatCompletionsCodec, Dialect
from linkspan.providers.chat_completions.encode import prepare
from linkspan.providers.chat_completions.stream import requested_choices
from linkspan.providers.data_role import carry_data
from linkspan.providers.filters.blocked import BlockWatch, raise_if_blocked
from linkspan.providers.filters.first_call import wanted_calls_decoder
from linkspan.providers.filters.stops import StoppingDecoder, cut_at_stops
from linkspan.providers.idle_demands import without_idle_demands
from linkspan.providers.provider import Provider
from linkspan.turns import name_as_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from linkspan.conversation import ChatRequest, Completion, Message, Tool, ToolChoice
    from linkspan.providers.codec import StreamDecoder

__all__ = [
    "CHAT_PARAMETERS",
    "CONTEXT_WINDOW",
    "DEFAULT_MODEL",
    "DEFAULT_PATH",
    "GRAY_SWAN",
    "AnyTool",
    "GraySwanChatCodec",
    "SpeakerNames",
    "gray_swan_base_url",
    "gray_swan_model_info",
    "undocumented_parameter",
]

GRAY_SWAN = Provider(
    name="gray_swan",
    title="Gray Swan Cygnet",
    api_key_env=("GRAYSWAN_API_KEY",),
    base_url_env=("GRAY_SWAN_BASE_URL",),
    default_base_url="https://api.grayswan.ai",
    default_timeout=60.0,
)

#: Alias of the latest model (docs/apis/gray_swan.md#models).
DEFAULT_MODEL = "cygnet"
#: Singular and without a version (docs/apis/gray_swan.md#address-and-key).
DEFAULT_PATH = "chat/completion"
#: Tokens of prompt and answer together. Unpublished; Cygnet is built on a model with this window.
CONTEXT_WINDOW = 8192
#: The documented parameters of a call (docs/apis/gray_swan.md#request), without those of the request itself.
CHAT_PARAMETERS = ("temperature", "max_tokens", "top_p", "frequency_penalty", "n", "moderate_before")

#: How to handle a required call of any of several tools.
AnyTool = Literal["error", "auto"]
#: How to handle a speaker's name.
SpeakerNames = Literal["error", "text"]

_DIALECT = Dialect(
    provider=GRAY_SWAN.name,
    title=GRAY_SWAN.title,
    roles=frozenset({"system", "user", "assistant", "tool", "data"}),
    user_parts=(),
    reasoning_field=None,
    hints=((Image, "Its messages are plain text: describe the image, or use a model with vision."),),
    asks_stream_usage=False,
    joins_text=True,
)


class GraySwanChatCodec(ChatCompletionsCodec):
    """Encodes and decodes chats with Cygnet.

    Only documented fields are sent. ``stop`` is not documented; it is enforced here, in whole answers and in streams.

    Args:
        path: The route, relative to the base URL.
        raise_on_block: Raise ``ContentBlockedError`` for a blocked answer. Otherwise the answer has the finish reason
            (``content_filter``, ``violation``) or a refusal.
        any_tool: How to handle a required call of any of several tools, which the API does not support: ``"error"``, or
            ``"auto"`` to leave the choice to the model.
        speaker_names: How to handle a speaker's name, for which messages have no field: ``"error"``, or ``"text"`` to
            write it before the text.

    Raises:
        ConfigurationError: ``path`` is blank or a whole URL.
    """

    def __init__(
        self,
        path: str = DEFAULT_PATH,
        *,
        raise_on_block: bool = False,
        any_tool: AnyTool = "error",
        speaker_names: SpeakerNames = "error",
    ) -> None:
        super().__init__(_DIALECT)
        self._any_tool = any_tool
        self._speaker_names = speaker_names
        self._path = _checked_path(path)
        self._raise_on_block = raise_on_block

    def path(self, request: ChatRequest, *, stream: bool) -> str:  # noqa: ARG002  # other APIs need both
        """The route, relative to the base URL."""
        return self._path

    def encode(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body; undocumented fields are refused by name, unless they are in ``extra_body``.

        Raises:
            UnsupportedContentError: The API has no documented field for a part, a parameter or a tool choice.
        """
        request = replace(request, parameters=without_idle_demands(request.parameters))
        _check_demands(request)
        request = prepare(replace(request, tools=[_described(tool) for tool in request.tools]))
        # Tool results become data first, because that writes their tools' names into the text.
        messages = carry_data(request, has_role=True)
        request = replace(
            request,
            tool_results="tool",
            messages=[self._without_name(message, place) for place, message in enumerate(messages)],
            stop=(),
            tool_choice=None if "tool_choice" in request.extra_body else self._tool_choice(request),
            response_format=None,
        )
        return super().encode(request, stream=stream)

    def decode(self, body: bytes, headers: Mapping[str, str], request: ChatRequest) -> Completion:
        """Decode a whole answer, and truncate it at the request's stop texts. A blocked answer stays blocked.

        Raises:
            ContentBlockedError: The answer was blocked, and ``raise_on_block`` is set.
        """
        completion = super().decode(body, headers, request)
        if self._raise_on_block:
            raise_if_blocked(completion, self.provider)
        return cut_at_stops(completion, request.stop)

    def stream_decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream, which truncates at the request's stop texts."""
        choices = requested_choices(request)
        chat = self.chat_decoder(request, headers, choices=choices)
        stopping = StoppingDecoder(chat, request.stop, choices=choices) if request.stop else chat
        decoder = wanted_calls_decoder(stopping, request)
        return BlockWatch(decoder, self.provider) if self._raise_on_block else decoder

    def _tool_choice(self, request: ChatRequest) -> ToolChoice | None:
        """Return the tool choice. "Any tool", which the API does not support, becomes the only tool if there is one."""
        if request.tool_choice != "required":
            return request.tool_choice
        if len(request.tools) == 1:
            return NamedTool(request.tools[0].name)
        if self._any_tool == "auto":
            return "auto"
        raise _refusal(
            f"{GRAY_SWAN.title} can be made to call one tool, by name, but not any of {len(request.tools)} "
            "(tool_choice 'required' or 'any'): name one, offer one only, leave the choice to the model with 'auto', "
            "or set any_tool='auto', which does so wherever a framework demands any tool."
        )

    def _without_name(self, message: Message, place: int) -> Message:
        """Remove the name, for which messages of this API have no field.

        Names of assistants and tools are redundant: role and call id identify them. Any other name is refused, or
        written before the text.
        """
        if message.name is None or message.role in {"assistant", "tool"} or self._speaker_names == "text":
            return name_as_text(message)
        raise _refusal(
            f"{GRAY_SWAN.title} has no field for the name of a speaker ({message.name!r}, {message.role} message "
            f"{place}): write it into the text, or set speaker_names='text'."
        )

    def explain(self, error: LinkspanError) -> LinkspanError:
        """Add the likely reason to the error of a missing route."""
        if isinstance(error, NotFoundError) and error.status_code in {404, 405}:
            error.with_hint(
                f"If this is not about the model's name: the Cygnet endpoint may have been retired, or moved from the "
                f"path {self._path!r}. Set base_url (or {GRAY_SWAN.base_url_env[0]}) and path to where it is."
            )
        return error


def gray_swan_base_url(base_url: str | None, path: str = DEFAULT_PATH) -> str:
    """Return the base URL: the argument, ``GRAY_SWAN_BASE_URL``, or the public one; without the path, if it has that.

    Raises:
        ConfigurationError: ``path`` is blank or a whole URL.
    """
    return GRAY_SWAN.resolve_base_url(base_url).rstrip("/").removesuffix(f"/{_checked_path(path)}")


def gray_swan_model_info(model: str, context_window: int | None = None) -> ModelInfo:
    """Return the facts of a model, or assumptions for an unknown one; ``window`` overrides its context window."""
    info = model_info(GRAY_SWAN.name, model) or ModelInfo(id=model, context_window=CONTEXT_WINDOW, tools=True)
    return info if context_window is None else replace(info, context_window=context_window)


def undocumented_parameter(name: str, value: object) -> str:
    """Return the refusal of a parameter: its name, the known ones, and how to send it anyway."""
    shown = value if isinstance(value, (bool, int, float)) else "..."
    return (
        f"{GRAY_SWAN.title} documents no parameter {name!r}; it has {', '.join(CHAT_PARAMETERS)}. "
        f"To send it anyway, pass extra_body={{{name!r}: {shown}}}."
    )


def _checked_path(path: str) -> str:
    cleaned = path.strip().strip("/")
    if not cleaned or "://" in cleaned or any(letter in cleaned for letter in "?# "):
        raise ConfigurationError(
            f"path must be a route below base_url, such as {DEFAULT_PATH!r}, not {path!r}.", provider=GRAY_SWAN.name
        )
    return cleaned


# --------------------------------------------------------------------------- unsupported requests


def _check_demands(request: ChatRequest) -> None:
    for name, value in request.parameters.items():
        if name not in CHAT_PARAMETERS:
            raise _refusal(undocumented_parameter(name, value))
    wanted = request.response_format
    if wanted is not None and wanted.kind != "text":
        raise _refusal(
            f"{GRAY_SWAN.title} has no response_format (got {wanted.kind!r}): ask for the shape by a forced tool call "
            "(function calling), or in the prompt with a parser for the answer."
        )
    if request.send_reasoning and any(
        isinstance(part, Reasoning) for message in request.messages for part in message.parts
    ):
        raise _refusal(f"{GRAY_SWAN.title} has no field for reasoning of earlier turns: leave send_reasoning unset.")


def _described(tool: Tool) -> Tool:
    if tool.strict:
        raise _refusal(
            f"{GRAY_SWAN.title} cannot hold a tool call to its schema (strict=True of the tool {tool.name!r}): "
            "leave strict unset and validate the arguments."
        )
    # The SDK's type requires a description.
    parameters = standing_alone(tool.parameters)
    return replace(tool, strict=None, description=tool.description or tool.name, parameters=parameters)


def _refusal(words: str) -> UnsupportedContentError:
    return UnsupportedContentError(words, provider=GRAY_SWAN.name)
