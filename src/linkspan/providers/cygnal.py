"""Gray Swan Cygnal's monitor: encode a conversation to be judged; the verdict is in ``cygnal_verdict``.

Source: Gray Swan's OpenAPI document 0.1.0 (docs/apis/gray_swan.md#cygnal).
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Literal, Union

from linkspan.call_history import with_call_ids
from linkspan.conversation import File, Message, Reasoning, Text, Tool, kind_of_part
from linkspan.errors import InvalidRequestError
from linkspan.providers.chat_completions import ChatCompletionsCodec, Dialect
from linkspan.providers.chat_completions.encode import encode_calls
from linkspan.providers.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import Part
    from linkspan.errors import LinkspanError

__all__ = [
    "CYGNAL",
    "MONITOR_PATH",
    "UNTRUSTED_ROLES",
    "CygnalCodec",
    "Injection",
    "ReasoningMode",
    "cygnal_base_url",
    "encode_check",
    "is_untrusted",
    "says_nothing",
]

CYGNAL = Provider(
    name="cygnal",
    title="Gray Swan Cygnal",
    api_key_env=("GRAYSWAN_API_KEY",),
    base_url_env=("GRAYSWAN_API_BASE", "GRAY_SWAN_BASE_URL"),
    default_base_url="https://api.grayswan.ai",
    default_timeout=30.0,
)

#: The route below the base URL.
MONITOR_PATH = "cygnal/monitor"

#: How much the monitor reasons before its verdict.
ReasoningMode = Literal["off", "hybrid", "thinking"]
#: When ``ipi`` and ``mutation`` flag a conversation.
Injection = Literal["untrusted", "always", "never"]

#: Roles whose text comes from outside. The API has no role ``data``: it is sent as ``tool``, the role for which
#: Gray Swan's own plugin acts on ``ipi``.
UNTRUSTED_ROLES = frozenset({"data", "function", "tool"})

#: A ``data:`` URL in base64.
_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)[^,]*;base64,(?P<content>.*)", re.DOTALL | re.IGNORECASE)
_MEDIA_TYPES = re.compile(r"image|audio|video|file", re.IGNORECASE)
_TEXT_TYPES = re.compile(r"^text/|json|xml|yaml|csv|javascript|markdown", re.IGNORECASE)

if TYPE_CHECKING:
    #: A neutral message, or one in the API's form: ``{"role": ..., "content": ...}``.
    Turn = Union[Message, Mapping[str, Any]]


def cygnal_base_url(base_url: str | None) -> str:
    """Return the base URL, without ``/cygnal`` or ``/cygnal/monitor``, with which the documentation shows it."""
    url = CYGNAL.resolve_base_url(base_url).rstrip("/")
    return url.removesuffix("/monitor").removesuffix("/cygnal") if url.endswith(("/cygnal", "/cygnal/monitor")) else url


class CygnalCodec(ChatCompletionsCodec):
    """Codec of the monitor: authentication and errors."""

    def __init__(self) -> None:
        super().__init__(Dialect(provider=CYGNAL.name, title=CYGNAL.title))

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the key in both headers, because documentation and integrations differ in which one they send."""
        return {"grayswan-api-key": api_key, "Authorization": f"Bearer {api_key}"}

    def explain(self, error: LinkspanError) -> LinkspanError:
        """Add hints to known errors."""
        if error.status_code == 404:
            return error.with_hint(f"The route is {MONITOR_PATH} below base_url, which is {CYGNAL.default_base_url}.")
        if "policy" in error.message.lower():
            return error.with_hint("Give policy_id, or set GRAYSWAN_POLICY_ID.")
        return error


def encode_check(
    content: str | Sequence[Turn],
    *,
    tools: Sequence[Tool | Mapping[str, Any]] = (),
    untrusted: bool = False,
    policy_id: str | Sequence[str] | None = None,
    rules: Mapping[str, str] | None = None,
    reasoning_mode: ReasoningMode | None = None,
    metadata: Mapping[str, Any] | None = None,
    extra_body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Encode the body of a check.

    A text from outside (``untrusted``) is sent as a tool result. ``extra_body`` is merged last and unchanged.

    Raises:
        InvalidRequestError: There is nothing to check, or a message has no role.
    """
    body: dict[str, Any] = {}
    if isinstance(content, str):
        if not content.strip():
            raise InvalidRequestError(f"{CYGNAL.name}: the text to check is empty.", provider=CYGNAL.name)
        body.update({"messages": [{"role": "tool", "content": content}]} if untrusted else {"text": content})
    else:
        body["messages"] = _messages(content)
    if tools:
        body["tools"] = [_tool(tool) for tool in tools]
    if policy_id:
        body.update({"policy_id": policy_id} if isinstance(policy_id, str) else {"policy_ids": list(policy_id)})
    for name, value in (("rules", rules), ("reasoning_mode", reasoning_mode), ("metadata", metadata)):
        if value:
            body[name] = value if isinstance(value, str) else dict(value)
    return {**body, **(extra_body or {})}


def is_untrusted(content: str | Sequence[Turn]) -> bool:
    """Whether a conversation ends with a tool result or other text from outside.

    Blank messages and system messages do not hide what stands before them.
    """
    if not isinstance(content, (list, tuple)):
        return False
    roles = (_role_of(turn) for turn in reversed(content))
    return next((role for role in roles if role not in {None, "system", "developer"}), None) in UNTRUSTED_ROLES


def says_nothing(content: str | Sequence[Turn]) -> bool:
    """Whether there is nothing to judge: a blank text, or a conversation with nothing new in it.

    New are the messages after the assistant's last words; system messages are not judged. Blank messages do not hide
    those before them.
    """
    if isinstance(content, str):
        return not content.strip()
    for place, turn in enumerate(reversed(content)):
        if not isinstance(turn, Message):
            return False
        if turn.role != "system" and not _is_blank(turn):
            return turn.role == "assistant" and place > 0
    return True


def _role_of(turn: Any) -> str | None:
    """Return the role of a message with content."""
    if isinstance(turn, Message):
        return None if _is_blank(turn) else turn.role
    if not isinstance(turn, dict):
        return None
    said = turn.get("content")
    is_blank = not said or (isinstance(said, str) and not said.strip())
    return None if is_blank and not turn.get("tool_calls") else turn.get("role")


def _is_blank(message: Message) -> bool:
    # Reasoning is not sent.
    return not message.tool_calls and all(
        isinstance(part, Reasoning) or (isinstance(part, Text) and not part.text.strip()) for part in message.parts
    )


def _messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    if not isinstance(turns, (list, tuple)) or not turns:
        raise InvalidRequestError(
            f"{CYGNAL.name}: content must be a text or a list of messages, and not empty.",
            provider=CYGNAL.name,
        )
    neutral = [turn for turn in turns if isinstance(turn, Message)]
    named = iter(with_call_ids(neutral))
    return [
        _encoded(next(named)) if isinstance(turn, Message) else _in_api_form(turn, place)
        for place, turn in enumerate(turns)
    ]


def _in_api_form(turn: Mapping[str, Any], place: int) -> dict[str, Any]:
    if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
        raise InvalidRequestError(
            f'{CYGNAL.name}: message {place} must be a dict with a "role", or a linkspan Message.', provider=CYGNAL.name
        )
    given = {**turn, "role": "tool"} if turn["role"] == "data" else dict(turn)
    if isinstance(given.get("content"), list):
        given["content"] = [_part_in_api_form(part) for part in given["content"]]
    return given


def _part_in_api_form(part: Any) -> Any:
    """Return a part in the API's form: of media only the type, of text files the text."""
    if not isinstance(part, dict) or not _MEDIA_TYPES.search(str(part.get("type"))):
        return part
    file = part.get("file")
    text = _text_of(File(url=str(file.get("file_data")))) if isinstance(file, dict) else None
    return {"type": part["type"]} if text is None else {"type": "text", "text": text}


def _encoded(message: Message) -> dict[str, Any]:
    role = "tool" if message.role == "data" else message.role
    encoded: dict[str, Any] = {"role": role, "content": _content(message)}
    if message.tool_calls:
        encoded["tool_calls"] = encode_calls(message)
    optional = {"tool_call_id": message.tool_call_id, "name": message.name}
    return {**encoded, **{name: value for name, value in optional.items() if value is not None}}


def _content(message: Message) -> str | list[dict[str, Any]] | None:
    # Reasoning is not part of the conversation.
    parts = [part for part in message.parts if not isinstance(part, Reasoning)]
    texts = [_text_of(part) for part in parts]
    if None not in texts:
        text = message.marked_if_failed("\n".join(filter(None, texts)))
        return None if message.tool_calls and not text else text
    # The monitor reads text only and lists the types that it ignored, for which it needs no bytes.
    return [
        {"type": kind_of_part(part)} if text is None else {"type": "text", "text": text}
        for part, text in zip(parts, texts, strict=True)
    ]


def _text_of(part: Part) -> str | None:
    """Return a part's text: its own, or that of a text file; ``None`` for other media."""
    if isinstance(part, Text):
        return part.text
    if not isinstance(part, File):
        return None
    data = _DATA_URL.match(part.url or "")
    media_type, content = (data["type"], data["content"]) if data else (part.media_type, part.base64)
    if not content or (media_type and not _TEXT_TYPES.search(media_type)):
        return None
    try:
        return b64decode(content).decode("utf-8", "replace" if media_type else "strict")
    except ValueError:  # of an unknown type, and no text
        return None


def _tool(tool: Tool | Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": tool.as_function()} if isinstance(tool, Tool) else dict(tool)
