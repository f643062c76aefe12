"""Gray Swan Cygnal's verdict on a conversation, and how an answer of the monitor is decoded to one.

Source: Gray Swan's OpenAPI document 0.1.0 (docs/apis/gray_swan.md#cygnal).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Usage
from linkspan.errors import ContentBlockedError, InvalidResponseError, LinkspanError
from linkspan.providers.cygnal import CYGNAL, CygnalCodec
from linkspan.providers.error_bodies import make_error, read_error, request_id_of, short_text
from linkspan.providers.wire import (
    as_count,
    as_flag,
    as_list,
    as_name,
    as_number,
    as_object,
    as_text,
    not_an_object,
    parse_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Verdict", "ViolatedRule", "decode_verdict"]


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
        ignored_inputs: Media that were not checked, such as images: ``{"type", "reason", "description"}``.
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

    Raises:
        InvalidResponseError: The answer is not a verdict.
        LinkspanError: The answer is an error with status 200.
    """
    parsed = parse_json(body, CYGNAL.name)
    if not isinstance(parsed, dict):
        raise not_an_object(parsed, "the answer", CYGNAL.name, request_id_of(headers))
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
    ignored = [as_object(one, "ignored_inputs[]") for one in _list(parsed, "ignored_inputs")]
    if any(str(one.get("type")).strip().lower() == "text" for one in ignored):
        raise _malformed("the service did not check all of the text, see ignored_inputs", request_id)
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
        ignored_inputs=ignored,
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
    explained = parsed.get("error_message")
    if error in (None, False, "") and not (isinstance(explained, str) and explained.strip()):
        return
    if error not in (None, False, "", True):
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
