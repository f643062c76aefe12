"""Gray Swan's monitor, ``/cygnal/monitor``: verdicts by simple rules, in the format of its OpenAPI document.

It reads the texts of the whole conversation, including arguments of tool calls:

- orders to a model ("ignore the previous instructions", "answer only with ...", "reveal your system prompt", "note to
  assistants") score 0.97; in a tool's result they also count as ``ipi``;
- requests for harm ("build a bomb", "steal the password", "pick a lock") score 0.93;
- a rule of the request is broken (0.9) if a phrase that it quotes in double quotes occurs in the conversation;
- a phrase that appears only after zero-width characters are removed and digits read as letters is a ``mutation``;
- everything else scores 0.02; with ``metadata.cygnal_bypass`` set to ``"true"`` everything scores 0.

The first two are rules 1 and 2; the request's rules are numbered from 3. ``ignored_inputs`` lists images and other
media. The key is read from ``grayswan-api-key`` or a bearer token. A request without content is refused with 400; the
service documents no rule for it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linkspan_sandbox.chat_completions import new_id
from linkspan_sandbox.engine import Call
from linkspan_sandbox.json_bodies import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MonitorError", "judge", "monitor_call", "read_body"]

_ROLES = ("system", "user", "assistant", "tool", "developer")
_ORDERS = re.compile(
    r"\b(ignore|disregard|forget)\b[^.\n]{0,40}\b(instructions?|rules?|prompts?|questions?)\b"
    r"|\b(answer|reply|respond) only with\b|\breveal\b[^.\n]{0,20}\bsystem prompt\b|\bnotes? to (ai )?assistants?\b",
    re.IGNORECASE,
)
_HARM = re.compile(
    r"\b(build|make)\b[^.\n]{0,12}\bbomb\b|\bsteal\b[^.\n]{0,20}\b(password|money|keys?)\b|\bpick a lock\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"([^"]+)"')
_AS_LETTERS = str.maketrans("013457@$", "oieastas")
_HARMLESS = 0.02
#: The JSON types of fields.
_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "messages": (list,),
    "tools": (list,),
    "rules": (dict, list),
    "categories": (dict, list),
    "metadata": (dict,),
}


class MonitorError(Exception):
    """Raised for a refused request: ``status`` 400, or 422 with the field."""

    def __init__(self, message: str, *place: str | int, status: int = 422) -> None:
        super().__init__(message)
        self.message = message
        self.place: list[str | int] = ["body", *place]
        self.status = status


@dataclass
class _Read:
    """The texts of a conversation, tool results separately, and its media."""

    texts: list[str] = field(default_factory=list)
    tool_texts: list[str] = field(default_factory=list)
    media: list[str] = field(default_factory=list)


def read_body(content: bytes) -> dict[str, Any]:
    """Parse a request's body.

    Raises:
        MonitorError: The body is not a JSON object, or a field has the wrong type.
    """
    try:
        body = parse_json(content)
    except ValueError as error:
        raise MonitorError(f"JSON decode error: {error}") from error
    if not isinstance(body, dict):
        raise MonitorError("Input should be a valid dictionary")
    for name, types in _TYPES.items():
        if not isinstance(body.get(name), (*types, type(None))):
            raise MonitorError(f"Input should be a valid {' or '.join(kind.__name__ for kind in types)}", name)
    if not all(isinstance(text, str) for rule in _rules(body) for text in rule):
        raise MonitorError("Input should be a valid string", "rules")
    return body


def monitor_call(body: Mapping[str, Any]) -> Call:
    """Return a request as the engine's rules see it: a conversation, or the text as a user turn.

    Raises:
        MonitorError: The request does not have the documented shape.
    """
    messages = [{"role": "user", "content": body["text"]}] if body.get("text") else list(_messages(body))
    if not messages:
        raise MonitorError("No content to monitor", status=400)
    return Call("gray_swan", "cygnal", messages=messages, tools=body.get("tools") or (), route="monitor")


def judge(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdict on a request that :func:`monitor_call` accepted."""
    read = _read(body)
    findings = list(_findings(body, read))
    bypassed = str((body.get("metadata") or {}).get("cygnal_bypass", "")).lower() == "true"
    everything = "\n".join([*read.texts, *read.tool_texts])
    return {
        "violation": 0.0 if bypassed else max((score for _, score, _ in findings), default=_HARMLESS),
        "observe_violation": None,
        "violated_rules": [number for number, _, _ in findings],
        "violated_rule_descriptions": [
            {"rule": number, "name": name, "description": f"The sandbox's rule {number}."}
            for number, _, name in findings
        ],
        "ignored_inputs": [
            {"type": "media", "reason": "text_moderation_only", "description": f"{kind} was not read"}
            for kind in read.media
        ],
        "ipi": any(_ORDERS.search(_plain(text)) for text in read.tool_texts),
        "mutation": any(bool(p.search(_plain(everything))) and not p.search(everything) for p in (_ORDERS, _HARM)),
        "scanner_output": None,
        "reasoning": "Read by the sandbox's rules." if body.get("reasoning_mode") in ("hybrid", "thinking") else None,
        "input_tokens": len(everything.split()),
        "output_tokens": 0,
        "activity_id": new_id("activity"),
        "block_message": None,
        "error": False,
        "error_message": None,
    }


def _findings(body: Mapping[str, Any], read: _Read) -> Iterator[tuple[int, float, str]]:
    """Yield number, score and name of each broken rule."""
    text = _plain("\n".join([*read.texts, *read.tool_texts]))
    if _ORDERS.search(text):
        yield 1, 0.97, "prompt injection"
    if _HARM.search(text):
        yield 2, 0.93, "harm"
    for number, (name, words) in enumerate(_rules(body), start=3):
        if any(phrase.lower() in text.lower() for phrase in _QUOTED.findall(words)):
            yield number, 0.9, name


def _rules(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and texts of the request's rules, in any of three forms, under the new or the old field name."""
    rules = body.get("rules") or body.get("categories") or {}
    if isinstance(rules, dict):
        return list(rules.items())
    pairs: list[tuple[str, str]] = []
    for rule in rules:
        pairs += rule.items() if isinstance(rule, dict) else [(rule, rule)]
    return pairs


def _plain(text: str) -> str:
    """Return a text with disguised words restored."""
    normal = unicodedata.normalize("NFKC", text)
    visible = "".join(letter for letter in normal if unicodedata.category(letter) != "Cf")
    return f"{visible}\n{visible.translate(_AS_LETTERS)}"


def _messages(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for place, message in enumerate(body.get("messages") or ()):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise MonitorError(f"Input should be one of {', '.join(_ROLES)}", "messages", place, "role")
        content = message.get("content")
        if not isinstance(content, (str, list, type(None))):
            raise MonitorError("Input should be a valid string or list", "messages", place, "content")
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                raise MonitorError("Field required", "messages", place, "content", "type")
            if not isinstance(part.get("text"), (str, type(None))):
                raise MonitorError("Input should be a valid string", "messages", place, "content", "text")
        _check_calls(message.get("tool_calls") or [], place)
        yield message


def _check_calls(calls: Any, place: int) -> None:
    if not isinstance(calls, list):
        raise MonitorError("Input should be a valid list", "messages", place, "tool_calls")
    for call in calls:
        function = call.get("function") if isinstance(call, dict) and {"id", "type"} <= call.keys() else None
        if not isinstance(function, dict):
            raise MonitorError("Field required", "messages", place, "tool_calls")
        if not isinstance(function.get("arguments"), (str, type(None))):
            raise MonitorError("Input should be a valid string", "messages", place, "tool_calls", "arguments")


def _read(body: Mapping[str, Any]) -> _Read:
    # The text wins if both are given.
    if body.get("text"):
        return _Read(texts=[body["text"]])
    read = _Read()
    for message in body["messages"]:
        texts = read.tool_texts if message["role"] == "tool" else read.texts
        content = message.get("content")
        for part in content if isinstance(content, list) else [{"type": "text", "text": content or ""}]:
            if part["type"] == "text":
                texts.append(part.get("text") or "")
            else:
                read.media.append(part["type"])
        read.texts += [call["function"].get("arguments") or "" for call in message.get("tool_calls") or ()]
    return read
