"""LlamaIndex agents with Scaleway: one that calls two tools in one turn, then two that hand over; streamed.

``python examples/llama_index_agent.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a
stand-in on this machine that answers from a script: ``pip install 'linkspan[llama-index,sandbox]'``.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent, ToolCallResult
from pydantic import BaseModel

from llama_index.llms.scaleway import Scaleway

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Call

MODEL = "llama-3.3-70b-instruct"
QUESTION = "When does the next ferry to Ostra leave, and what does a car cost?"


def departures(port: str) -> str:
    """Return the next departure to a port."""
    return f"The next ferry to {port} leaves at 09:00."


def fare(port: str, vehicle: str) -> str:
    """Return the price of a crossing with a vehicle."""
    return f"A {vehicle} to {port} costs 31 euros."


class Trip(BaseModel):
    """A crossing and its price."""

    departure: str
    euros: float


async def main() -> None:
    """Ask one agent, then two."""
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        async with Scaleway(model=MODEL, temperature=0, max_tokens=500, **where) as llm:
            await show(FunctionAgent(tools=[departures, fare], llm=llm, system_prompt="Answer in one sentence."))

            clerk = FunctionAgent(
                name="clerk",
                description="Knows the timetable.",
                system_prompt="You know the timetable. For prices, hand over to the cashier.",
                tools=[departures],
                llm=llm,
                can_handoff_to=["cashier"],
            )
            cashier = FunctionAgent(
                name="cashier",
                description="Knows the prices.",
                system_prompt="You know the prices.",
                tools=[fare],
                llm=llm,
                can_handoff_to=[],
            )
            result = await show(AgentWorkflow(agents=[clerk, cashier], root_agent="clerk", output_cls=Trip))
            print(repr(result.get_pydantic_model(Trip)))


async def show(runner: FunctionAgent | AgentWorkflow) -> Any:
    """Ask, print the tools' results and the answer as they arrive, and return the result."""
    handler = runner.run(QUESTION)
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):
            print(">", event.tool_name, event.tool_kwargs)
            print("<", event.tool_output.content.splitlines()[0])
        elif isinstance(event, AgentStream):
            print(event.delta, end="", flush=True)
    print()
    return await handler


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan.conversation import ToolCall  # noqa: PLC0415  # needed only without a key
    from linkspan_sandbox import Reply, Rule, run  # noqa: PLC0415

    def offers(name: str) -> Callable[[Call], bool]:
        return lambda call: any(offered["function"]["name"] == name for offered in call.tools)

    when = ToolCall(None, "departures", '{"port": "Ostra"}')
    price = ToolCall(None, "fare", '{"port": "Ostra", "vehicle": "car"}')
    over = ToolCall(None, "handoff", '{"to_agent": "cashier", "reason": "a price is wanted"}')
    rules = [
        Rule('{"departure": "09:00", "euros": 31}', when=lambda call: call.response_format is not None),
        Rule(Reply(tool_calls=[when, over]), when=offers("handoff")),
        Rule(Reply(tool_calls=[when, price]), role="user"),
        Rule(Reply(tool_calls=[price]), when=lambda call: "31 euros" not in str(call.messages)),
        Rule("The next ferry to Ostra leaves at 09:00, and a car costs 31 euros."),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    asyncio.run(main())
