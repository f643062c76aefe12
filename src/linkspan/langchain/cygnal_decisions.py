"""Gray Swan's guard as a decision model of langchain-core (1.8 or newer): yes-or-no questions about texts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.decisions import BaseDecisionModel, ClassifierResponse, NoulAnswer
from langchain_core.messages import BaseMessage
from pydantic import ConfigDict, Field

from linkspan.concurrency import acall_each, call_each
from linkspan.conversation import Message, Reasoning, Text, kind_of_part
from linkspan.cygnal import Cygnal as NeutralCygnal  # noqa: TC001  # pydantic reads the annotations at run time
from linkspan.errors import UnsupportedContentError
from linkspan.langchain.cygnal import Cygnal, as_turns
from linkspan.langchain.decision_model import state_text
from linkspan.langchain.errors import converted_errors
from linkspan.providers.cygnal import CYGNAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import Part
    from linkspan.providers.cygnal import Turn
    from linkspan.providers.cygnal_verdict import Verdict

__all__ = ["CygnalDecisionModel"]


class CygnalDecisionModel(BaseDecisionModel):  # type: ignore[misc]  # core has it from 1.8 on
    """Answers yes-or-no questions (``Noul``) with Gray Swan's guard, for ``AutoModeMiddleware`` and similar ones.

    ::

        AutoModeMiddleware(tools=[delete_file], classifier=CygnalDecisionModel(cygnal=Cygnal()))

    Each question is one check: its instructions and criteria form a rule, and the answer is the probability that the
    state violates it. The guard's own policy and rules do not apply. Messages in the state are the conversation to
    judge; the rest of the state follows as JSON, as text from outside. Questions for a choice, a score or a box are
    refused, because the service returns one number.

    Args:
        cygnal: The guard. Default: one created from the environment.
        model: The name that traces show.
        max_concurrency: Most questions of one call that are checked at once.

    Raises:
        UnsupportedContentError: When run: a question is not a ``Noul``, or the state holds media.
        ModelError: When run: the guard failed.
    """

    model_config = ConfigDict(extra="forbid")

    model: str = CYGNAL.name
    cygnal: NeutralCygnal = Field(default_factory=Cygnal)
    max_concurrency: int = Field(default=4, gt=0)

    @property
    def _provider(self) -> str:
        return CYGNAL.name

    def _classify(self, state: Any, questions: Mapping[str, Any]) -> Any:
        with converted_errors():
            turns, rules = _turns_of(state), [_as_rule(name, asked) for name, asked in questions.items()]
            verdicts = call_each(rules, lambda rule: self.cygnal.check(turns, **rule), self.max_concurrency)
            return self._response(dict(zip(questions, verdicts, strict=True)))

    async def _aclassify(self, state: Any, questions: Mapping[str, Any]) -> Any:
        with converted_errors():
            turns, rules = _turns_of(state), [_as_rule(name, asked) for name, asked in questions.items()]
            gate = asyncio.Semaphore(self.max_concurrency)
            verdicts = await acall_each(rules, lambda rule: self.cygnal.acheck(turns, **rule), gate)
            return self._response(dict(zip(questions, verdicts, strict=True)))

    def _response(self, verdicts: Mapping[str, Verdict]) -> Any:
        counts = [verdict.usage for verdict in verdicts.values() if verdict.usage is not None]
        usage = {
            "input_tokens": sum(one.input_tokens or 0 for one in counts),
            "output_tokens": sum(one.output_tokens or 0 for one in counts),
        }
        return ClassifierResponse(
            model=self.model,
            answers={name: NoulAnswer(type="noul", noul=verdict.violation) for name, verdict in verdicts.items()},
            usage=usage if counts else None,
            request_id=next((one.request_id for one in verdicts.values() if one.request_id), None),
        )


def _as_rule(name: str, question: Any) -> dict[str, Any]:
    """Return the settings of a question's check."""
    if question.type != "noul":
        raise UnsupportedContentError(
            f"{CYGNAL.title} answers yes-or-no questions: {name!r} asks for a {question.type}. Ask a Noul.",
            provider=CYGNAL.name,
        )
    lines = [_as_text(question.instructions)]
    if question.criteria is not None:
        outcomes = (("Broken", question.criteria.true), ("Kept", question.criteria.false))
        lines += [f"{outcome} if: {_as_text(said)}" for outcome, said in outcomes if said is not None]
    return {"rules": {name: "\n".join(lines)}, "policy_id": None, "injection": "never"}


def _turns_of(state: Any) -> str | Sequence[Turn]:
    """Return the state as a text or as turns, none of them with media."""
    turns = _read_state(state)
    parts = [part for turn in turns if isinstance(turn, Message) for part in turn.parts]
    _refuse_media([part for part in parts if not isinstance(part, (Text, Reasoning))])
    return turns


def _read_state(state: Any) -> str | Sequence[Turn]:
    if isinstance(state, (str, BaseMessage)):
        return as_turns(state)
    if isinstance(state, Mapping):
        said = state.get("messages")
        if _are_messages(said):
            rest = {name: value for name, value in state.items() if name != "messages"}
            return [*as_turns(said), *([_as_data(rest)] if rest else [])]
    return as_turns(state) if _are_messages(state) else [_as_data(state)]


def _are_messages(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(one, BaseMessage) for one in value)


def _as_data(value: Any) -> Message:
    return Message("data", [Text(_as_text(value))])


def _as_text(value: Any) -> str:
    media: list[Part] = []
    text = state_text(value, media, CYGNAL.name)
    _refuse_media(media)
    return text


def _refuse_media(media: Sequence[Part]) -> None:
    if media:
        raise UnsupportedContentError(
            f"{CYGNAL.title} judges text: a part of type {kind_of_part(media[0])!r} cannot be read.",
            provider=CYGNAL.name,
        )
