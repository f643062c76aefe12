"""Rules of the scripted engine: the calls that one applies to, its reply, and the faults that a reply can simulate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Union

from linkspan.conversation import ToolCall, Usage
from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox.engine import Call

__all__ = ["TEXT_ROUTES", "Cut", "EndEarly", "ErrorEvent", "Fault", "HTTPError", "Reply", "Rule", "Stall"]

#: The routes without a language model, and those of them whose answer is a text.
_ROUTES = ("embeddings", "rerank", "monitor", "transcriptions", "ocr")
TEXT_ROUTES = ("transcriptions", "ocr")
_APIS = ("scaleway", "gray_swan", "llm_engine", "datacrunch")
_ROLES = ("system", "developer", "user", "assistant", "tool", "data")


@dataclass(frozen=True)
class HTTPError:
    """Answer with this status before anything else.

    ``body`` is JSON, text or bytes; without it, the API's error body for the status is sent.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.status, int):
            _refuse("an HTTPError's status", self.status, "a number")
        _check_headers("an HTTPError's headers", self.headers)


@dataclass(frozen=True)
class ErrorEvent:
    """Fail with the API's own error after ``after`` pieces: an error event in a stream, else an error answer."""

    after: int = 1
    message: str = "the sandbox was told to fail here"
    status: int = 500


@dataclass(frozen=True)
class Cut:
    """Close the connection after ``after`` pieces; with ``None``, before the status line."""

    after: int | None = 1


@dataclass(frozen=True)
class Stall:
    """Send nothing more after ``after`` pieces, and keep the connection open until the client gives up."""

    after: int = 1


@dataclass(frozen=True)
class EndEarly:
    """End the HTTP answer properly after ``after`` pieces, but without finish reason, usage or end marker."""

    after: int = 1


Fault = Union[HTTPError, ErrorEvent, Cut, Stall, EndEarly]
_FAULTS = (HTTPError, ErrorEvent, Cut, Stall, EndEarly)


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(item, kind) for item in value)


def _check_headers(name: str, headers: object) -> None:
    if not isinstance(headers, Mapping) or not all(isinstance(text, str) for pair in headers.items() for text in pair):
        _refuse(name, headers, "a dictionary of texts")


def _refuse(name: str, value: object, wanted: str) -> NoReturn:
    raise ConfigurationError(f"{name} must be {wanted}, not {value!r:.100}")


@dataclass(frozen=True)
class Reply:
    """An answer.

    Args:
        text: The text. A list sets the exact pieces of the stream.
        reasoning: The reasoning before the text, likewise.
        tool_calls: Tool calls after the text. An ``id`` of ``None`` is replaced by a counter.
        finish_reason: Default: ``tool_calls`` if there are any, ``length`` if ``max_tokens`` cut the text, else
            ``stop``.
        usage: Default: counted in pieces.
        model: Name of the model that answered; default: the requested one.
        delay: Seconds before the first piece.
        pause: Seconds before each further piece.
        fault: A fault to simulate, such as ``HTTPError(429)``.
        events: The stream's exact events (dicts as JSON, texts unchanged) instead of all of the above. No end marker is
            added.
        body: The exact JSON answer, for a call that is not streamed.
        headers: Headers to add to an answer given as ``body``.

    Raises:
        ConfigurationError: A value has the wrong type.
    """

    text: str | Sequence[str] = ""
    reasoning: str | Sequence[str] = ""
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    delay: float = 0
    pause: float = 0
    fault: Fault | None = None
    events: Sequence[str | Mapping[str, Any]] | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("text", "reasoning"):
            text = getattr(self, name)
            if not isinstance(text, str) and not _is_list_of(text, str):
                _refuse(f"a reply's {name}", text, "a text or a list of texts (JSON: body=...)")
        if not _is_list_of(self.tool_calls, ToolCall):
            _refuse("a reply's tool_calls", self.tool_calls, "a list of ToolCall")
        for call in self.tool_calls:
            if not isinstance(call.arguments, str):
                _refuse(f"the arguments of {call.name}", call.arguments, "JSON text, as a model writes them")
        if self.fault is not None and not isinstance(self.fault, _FAULTS):
            _refuse("a reply's fault", self.fault, " or ".join(f"{fault.__name__}(...)" for fault in _FAULTS))
        if self.usage is not None and not isinstance(self.usage, Usage):
            _refuse("a reply's usage", self.usage, "a linkspan.conversation.Usage")
        for name in ("delay", "pause"):
            if not isinstance(getattr(self, name), (int, float)):
                _refuse(f"a reply's {name}", getattr(self, name), "a number of seconds")
        _check_headers("a reply's headers", self.headers)


@dataclass
class Rule:
    """An answer and the calls that it applies to.

    Args:
        reply: A :class:`Reply`, a text as shorthand, or a function of the :class:`Call`.
        when: A text that the last user message (or the prompt) contains, a compiled pattern found in it, or a
            predicate of the :class:`Call`. ``None`` matches every call.
        role: The role of the last message, such as ``"tool"`` for the turn after a tool's result.
        api: The dialect, such as ``"scaleway"``.
        times: How often the rule may answer; ``None`` for no limit. ``times=2`` with a fault fails twice, then
            recovers.
        route: ``"embeddings"``, ``"rerank"``, ``"transcriptions"`` or ``"ocr"`` of Scaleway, or Cygnal's ``"monitor"``:
            the rule applies to that route. Its reply may have a ``body``, a ``delay`` or a ``fault`` (an error, a cut
            or a stall); for transcriptions and OCR also a ``text``, the file's content (form feeds separate pages).
            ``None``: calls of a language model.

    Raises:
        ConfigurationError: A value has the wrong type, or there is no such ``role``, ``api`` or ``route``.
    """

    reply: Reply | str | Callable[[Call], Reply | str]
    when: str | re.Pattern[str] | Callable[[Call], bool] | None = None
    role: str | None = None
    api: str | None = None
    times: int | None = None
    route: str | None = None
    #: How often the rule has answered.
    used: int = 0

    def __post_init__(self) -> None:
        for name, known in (("role", _ROLES), ("api", _APIS), ("route", _ROUTES)):
            if getattr(self, name) not in (None, *known):
                raise ConfigurationError(f"a rule's {name} must be {' or '.join(known)}, not {getattr(self, name)!r}")
        if not isinstance(self.reply, (Reply, str)) and not callable(self.reply):
            hint = ", as in Reply(fault=...)" if isinstance(self.reply, _FAULTS) else ""
            _refuse("a rule's reply", self.reply, f"a text, a Reply{hint} or a function of the Call")
        if self.when is not None and not isinstance(self.when, (str, re.Pattern)) and not callable(self.when):
            _refuse("a rule's when", self.when, "a text, a compiled pattern or a function of the Call")
        if self.times is not None and not isinstance(self.times, int):
            _refuse("a rule's times", self.times, "a whole number")

    def matches(self, call: Call) -> bool:
        """Whether this rule applies to the call."""
        if self.times is not None and self.used >= self.times:
            return False
        if self.route != call.route:
            return False
        if self.role not in (None, call.last_role) or self.api not in (None, call.api):
            return False
        return self._finds(call)

    def _finds(self, call: Call) -> bool:
        if isinstance(self.when, str):
            return self.when in call.last_user_text
        if isinstance(self.when, re.Pattern):
            return self.when.search(call.last_user_text) is not None
        return self.when is None or self.when(call)
