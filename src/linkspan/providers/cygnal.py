"""Gray Swan Cygnal's monitor: encode a conversation, decode its verdict.

Source: Gray Swan's OpenAPI document 0.1.0 (docs/apis/gray_swan.md#cygnal).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, Union

from linkspan.call_history import object_text, with_call_ids
from linkspan.conversation import Message, Reasoning, Text, Tool, Usage, kind_of_part
from linkspan.errors import ContentBlockedError, InvalidRequestError, InvalidResponseError, LinkspanError
from linkspan.providers.chat_completions import ChatCompletionsCodec, Dialect
from linkspan.providers.error_bodies import make_error, read_error, request_id_of, short_text
from linkspan.providers.provider import Provider
from linkspan.providers.wire import as_count, as_flag, as_list, as_name, as_number, as_object, as_text, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "CYGNAL",
    "MONITOR_PATH",
    "CygnalCodec",
    "Injection",
    "ReasoningMode",
    "Verdict",
    "ViolatedRule",
    "cygnal_base_url",
    "decode_verdict",
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
_UNTRUSTED_ROLES = frozenset({"data", "function", "tool"})

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


# --------------------------------------------------------------------------- the request


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

    Args:
        content: A text, or a conversation.
        tools: The tools that the conversation's model may call.
        untrusted: Whether the text comes from outside; it is then sent as a tool result.
        policy_id: ID of one policy, or several.
        rules: Additional rules, name to text.
        reasoning_mode: How much the monitor reasons.
        metadata: Stored with the activity.
        extra_body: Merged last and unchanged.

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
    """Whether a conversation ends with a tool result or other text from outside."""
    if not isinstance(content, (list, tuple)) or not content:
        return False
    last = content[-1]
    role = last.role if isinstance(last, Message) else last.get("role") if isinstance(last, dict) else None
    return role in _UNTRUSTED_ROLES


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
        _encoded(next(named)) if isinstance(turn, Message) else _as_given(turn, place)
        for place, turn in enumerate(turns)
    ]


def _as_given(turn: Mapping[str, Any], place: int) -> dict[str, Any]:
    if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
        raise InvalidRequestError(
            f'{CYGNAL.name}: message {place} must be a dict with a "role", or a linkspan Message.', provider=CYGNAL.name
        )
    return {**turn, "role": "tool"} if turn["role"] == "data" else dict(turn)


def _encoded(message: Message) -> dict[str, Any]:
    role = "tool" if message.role == "data" else message.role
    encoded: dict[str, Any] = {"role": role, "content": _content(message)}
    if message.tool_calls:
        encoded["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": object_text(call.arguments)},
            }
            for call in message.tool_calls
        ]
    optional = {"tool_call_id": message.tool_call_id, "name": message.name}
    return {**encoded, **{name: value for name, value in optional.items() if value is not None}}


def _content(message: Message) -> str | list[dict[str, Any]] | None:
    # Reasoning is not part of the conversation.
    parts = [part for part in message.parts if not isinstance(part, Reasoning)]
    if all(isinstance(part, Text) for part in parts):
        text = message.marked_if_failed("\n".join(part.text for part in parts if isinstance(part, Text)))
        return None if message.tool_calls and not text else text
    # The monitor reads text only and lists the types that it ignored, for which it needs no bytes.
    return [
        {"type": "text", "text": part.text} if isinstance(part, Text) else {"type": kind_of_part(part)}
        for part in parts
    ]


def _tool(tool: Tool | Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": tool.as_function()} if isinstance(tool, Tool) else dict(tool)


# --------------------------------------------------------------------------- the verdict


@dataclass(slots=True, frozen=True)
class ViolatedRule:
    """A rule that the conversation violates. ``number`` is its position in the policy."""

    number: int
    name: str = ""
    description: str = ""


@dataclass(slots=True, frozen=True)
class Verdict:
    """The monitor's verdict on a conversation.

    Attributes:
        violation: Probability, 0 to 1, that the conversation violates a rule.
        ipi: Whether it contains an indirect prompt injection: instructions in text from outside.
        mutation: Whether its wording is disguised.
        threshold: The violation score from which it is flagged.
        injection_counts: Whether ``ipi`` and ``mutation`` flag it, too.
        violated_rules: The rules that it violates.
        observe_violation: The score of rules that a policy only observes; never flags.
        block_message: The policy's message to show instead.
        reasoning: The monitor's reasoning, if any.
        ignored_inputs: Content that was not checked, such as images: ``{"type", "reason", "description"}``.
        scanner_output: The scanners' findings.
        usage: Tokens that the check used.
        activity_id: The check's id in Gray Swan's log.
        request_id: The server's id of the request.
        raw: The answer as received.
    """

    violation: float
    ipi: bool = False
    mutation: bool = False
    threshold: float = 0.5
    injection_counts: bool = False
    violated_rules: Sequence[ViolatedRule] = ()
    observe_violation: float | None = None
    block_message: str | None = None
    reasoning: str = ""
    ignored_inputs: Sequence[Mapping[str, Any]] = ()
    scanner_output: Mapping[str, Any] = field(default_factory=dict)
    usage: Usage | None = None
    activity_id: str | None = None
    request_id: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def flagged(self) -> bool:
        """Whether the conversation is flagged."""
        return bool(self.reasons)

    @property
    def reasons(self) -> list[str]:
        """Why it is flagged; empty if it is not."""
        reasons = []
        if self.violation >= self.threshold:
            rules = ", ".join(rule.name or f"rule {rule.number}" for rule in self.violated_rules)
            reasons.append(f"violation {self.violation:.2f}{f' ({rules})' if rules else ''}")
        if self.injection_counts:
            reasons += ["indirect prompt injection"] * self.ipi + ["disguised wording"] * self.mutation
        return reasons

    def raise_if_flagged(self) -> None:
        """Raise an error if the conversation is flagged.

        Raises:
            ContentBlockedError: It is flagged. The message gives the reasons, ``body`` the verdict as received.
        """
        if self.flagged:
            said = f" {self.block_message}" if self.block_message else ""
            raise ContentBlockedError(
                f"{CYGNAL.name}: blocked: {', '.join(self.reasons)}.{said}",
                provider=CYGNAL.name,
                code="violation" if self.violation >= self.threshold else "ipi" if self.ipi else "mutation",
                request_id=self.request_id,
                body=self.raw,
            )


def decode_verdict(
    body: bytes, headers: Mapping[str, str], *, threshold: float = 0.5, injection_counts: bool = False
) -> Verdict:
    """Decode a verdict. One without a score is an error, because an outage must not pass as harmless.

    A malformed verdict, or one with an error, still counts if a readable finding flags the conversation: a failure that
    a program lets pass must not hide it.

    Args:
        body: The answer's body.
        headers: The answer's headers.
        threshold: The violation score from which the conversation is flagged.
        injection_counts: Whether ``ipi`` and ``mutation`` flag it, too.

    Raises:
        InvalidResponseError: The answer is not a verdict.
        LinkspanError: The answer is an error with status 200.
    """
    parsed = parse_json(body, CYGNAL.name)
    if not isinstance(parsed, dict):
        raise _malformed(f"the answer is a JSON {type(parsed).__name__}, not an object", request_id_of(headers))
    try:
        return _whole_verdict(parsed, headers, threshold=threshold, injection_counts=injection_counts)
    except LinkspanError:
        flagging = _flagging_findings(parsed, headers, threshold=threshold, injection_counts=injection_counts)
        if flagging is None:
            raise
        return flagging


def _whole_verdict(
    parsed: Mapping[str, Any], headers: Mapping[str, str], *, threshold: float, injection_counts: bool
) -> Verdict:
    request_id = request_id_of(headers)
    _raise_if_error(parsed, headers)
    violation = as_number(parsed.get("violation"), "violation")
    if violation is None:
        raise _malformed("the answer has no violation score", request_id)
    observed = as_number(parsed.get("observe_violation"), "observe_violation")
    for name, score in (("violation", violation), ("observe_violation", observed)):
        if score is not None and not (isfinite(score) and 0 <= score <= 1):
            raise _malformed(f"{name} must be from 0 to 1, and is {score}", request_id)
    return Verdict(
        violation,
        ipi=bool(as_flag(parsed.get("ipi"), "ipi")),
        mutation=bool(as_flag(parsed.get("mutation"), "mutation")),
        threshold=threshold,
        injection_counts=injection_counts,
        violated_rules=_violated_rules(parsed),
        observe_violation=observed,
        block_message=as_text(parsed.get("block_message"), "block_message") or None,
        reasoning=as_text(parsed.get("reasoning"), "reasoning"),
        ignored_inputs=[as_object(one, "ignored_inputs[]") for one in _list(parsed, "ignored_inputs")],
        scanner_output=as_object(parsed.get("scanner_output"), "scanner_output"),
        usage=_usage(parsed),
        activity_id=as_name(parsed.get("activity_id"), "activity_id"),
        request_id=request_id,
        raw=parsed,
    )


def _flagging_findings(
    parsed: Mapping[str, Any], headers: Mapping[str, str], *, threshold: float, injection_counts: bool
) -> Verdict | None:
    """Return a verdict of the readable findings; ``None`` if they do not flag the conversation."""
    score = _readable_score(parsed.get("violation"))
    ipi, mutation = (_readable_flag(parsed.get(name)) for name in ("ipi", "mutation"))
    if score is None and not (injection_counts and (ipi or mutation)):
        return None
    message = parsed.get("block_message")
    verdict = Verdict(
        score or 0.0,
        ipi=ipi,
        mutation=mutation,
        threshold=threshold,
        injection_counts=injection_counts,
        block_message=message if isinstance(message, str) and message else None,
        request_id=request_id_of(headers),
        raw=parsed,
    )
    return verdict if verdict.flagged else None


def _readable_score(value: Any) -> float | None:
    try:
        score = float(value) if type(value) in {int, float, str} else -1.0
    except (ValueError, OverflowError):
        return None
    # Above 1 the scale is another one, so that the score may mean anything.
    return score if 0 <= score <= 1 else None


def _readable_flag(value: Any) -> bool:
    return value is True or value == 1 or (isinstance(value, str) and value.strip().lower() in {"true", "yes", "1"})


def _raise_if_error(parsed: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    error = parsed.get("error")
    if error in (None, False, ""):
        return
    if error is not True:
        # A gateway's error, in another form than the API's.
        raise CygnalCodec().explain(make_error(CYGNAL.name, read_error(parsed), headers=headers))
    said = next((parsed[name] for name in ("error_message", "message", "detail") if parsed.get(name)), None)
    found = read_error(
        {"message": said or "the server gave no explanation", "error_code": short_text(parsed.get("error_code"))}
    )
    found.message = f"the check failed: {found.message}"
    raise CygnalCodec().explain(make_error(CYGNAL.name, found, headers=headers))


def _violated_rules(parsed: Mapping[str, Any]) -> list[ViolatedRule]:
    """Return the rules by number, with names and texts if the answer has them."""
    rules: dict[int, ViolatedRule] = {}
    for item in _list(parsed, "violated_rule_descriptions"):
        described = as_object(item, "violated_rule_descriptions[]")
        number = as_count(described.get("rule"), "rule")
        if number is not None:
            texts = (as_text(described.get(name), name) for name in ("name", "description"))
            rules[number] = ViolatedRule(number, *texts)
    for item in _list(parsed, "violated_rules"):
        number = as_count(item, "violated_rules[]")
        if number is not None:
            rules.setdefault(number, ViolatedRule(number))
    return list(rules.values())


def _usage(parsed: Mapping[str, Any]) -> Usage | None:
    taken, given = (as_count(parsed.get(name), name) for name in ("input_tokens", "output_tokens"))
    if taken is None and given is None:
        return None
    return Usage(taken, given, None if taken is None or given is None else taken + given)


def _list(parsed: Mapping[str, Any], name: str) -> list[Any]:
    return as_list(parsed.get(name), name)


def _malformed(words: str, request_id: str | None) -> InvalidResponseError:
    return InvalidResponseError(f"{CYGNAL.name}: {words}.", provider=CYGNAL.name, request_id=request_id)
