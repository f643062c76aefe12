"""What the scripted engine answers the agents of the cassettes: calls that the small local model never makes by itself.

``scripts/record_cassettes.py`` starts the sandbox with these rules; the provenance of the cassettes says so. The last
word is the question's: whatever an agent asks here, it is about ferries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linkspan.conversation import ToolCall
from linkspan_sandbox import Reply, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Call

__all__ = ["RULES"]

_DEPARTURES = ToolCall(None, "departures", '{"port": "Ostra"}')
_FARE = ToolCall(None, "fare", '{"vehicle": "car", "seats": 2}')
_HANDOFF = ToolCall(None, "handoff", '{"to_agent": "cashier", "reason": "a price is wanted"}')
_TRIP = ToolCall(None, "Trip", '{"departure": "09:00", "euros": 31}')
_FETCH = ToolCall(None, "fetch_page", '{"address": "ostra.example/ferry"}')
_ANSWER = "At nine, for 31 euros."


def _offers(*names: str) -> Callable[[Call], bool]:
    """Match calls that offer these tools."""
    return lambda call: set(names) <= {tool["function"]["name"] for tool in call.tools}


def _reacts(seen: bool) -> Callable[[Call], bool]:
    """Match prompts of a ReAct agent, by whether a tool has answered already."""

    def matches(call: Call) -> bool:
        said = f"{call.prompt}{call.messages}"
        return "Action Input" in said and ("Observation: Ostra: 09:00" in said) is seen

    return matches


RULES = (
    Rule(
        'Thought: I need to use a tool.\nAction: departures\nAction Input: {"port": "Ostra"}\n',
        when=_reacts(seen=False),
    ),
    Rule("Thought: I can answer without using any more tools.\nAnswer: It leaves at nine.", when=_reacts(seen=True)),
    Rule(Reply("The page says so.", tool_calls=[_FETCH]), when=_offers("fetch_page"), role="user"),
    Rule("It was built in 1974.", when=_offers("fetch_page")),
    Rule(Reply(tool_calls=[_HANDOFF]), when=_offers("handoff")),
    Rule(Reply("Both, then.", tool_calls=[_DEPARTURES, _FARE]), when=_offers("departures", "fare"), role="user"),
    Rule(Reply(tool_calls=[_DEPARTURES]), when=_offers("departures"), role="user"),
    # The cashier reads the hand-off as a tool's result, so that the last one tells.
    Rule(
        Reply(tool_calls=[_FARE]),
        when=lambda call: _offers("fare")(call) and "31.0" not in str(call.messages),
    ),
    Rule(Reply(tool_calls=[_TRIP]), when=_offers("Trip")),
    Rule('{"departure": "09:00", "euros": 31}', when=lambda call: call.response_format is not None),
    Rule(_ANSWER),
)
