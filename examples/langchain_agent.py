"""A LangChain agent with Scaleway: it calls two tools in one turn and streams its answer; then it returns an object.

``python examples/langchain_agent.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a
stand-in on this machine that answers from a script: ``pip install 'linkspan[langchain,sandbox]' langchain``.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from typing import Any

from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from linkspan.langchain import ChatScaleway

MODEL = "llama-3.3-70b-instruct"
QUESTION = "When does the next ferry to Ostra leave, and what does a car cost?"


@tool
def departures(port: str) -> str:
    """Return the next departure to a port."""
    return f"The next ferry to {port} leaves at 09:00."


@tool
def fare(port: str, vehicle: str) -> str:
    """Return the price of a crossing with a vehicle."""
    return f"A {vehicle} to {port} costs 31 euros."


class Trip(BaseModel):
    """A crossing and its price."""

    departure: str
    euros: float


def main() -> None:
    """Ask twice: for text, and for an object."""
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        chat = stack.enter_context(ChatScaleway(model=MODEL, temperature=0, max_tokens=500, **where))

        agent = create_agent(chat, [departures, fare], system_prompt="Answer in one sentence.")
        for mode, event in agent.stream(ask(QUESTION), stream_mode=["messages", "updates"]):
            if mode == "updates":
                show_steps(event)
            elif isinstance(event[0], AIMessage):
                print(event[0].text, end="", flush=True)
        print()

        # Request the object as another tool. With plain ``response_format=Trip`` the server enforces the schema on
        # every answer; vLLM, for one, then never lets the model call the other tools.
        trips = create_agent(chat, [departures, fare], response_format=ToolStrategy(Trip))

        async def find_trip() -> Trip:
            # Connections belong to an event loop: close them before it ends.
            async with chat:
                trip: Trip = (await trips.ainvoke(ask(QUESTION)))["structured_response"]
                return trip

        print(repr(asyncio.run(find_trip())))


def ask(question: str) -> Any:
    """Return the agent's input."""
    return {"messages": [{"role": "user", "content": question}]}


def show_steps(update: Any) -> None:
    """Print the model's tool calls and their results."""
    for node, state in update.items():
        for message in state["messages"]:
            if node == "tools":
                print("<", message.content)
            for call in getattr(message, "tool_calls", ()):
                print(">", call["name"], call["args"])


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan.conversation import ToolCall  # noqa: PLC0415  # needed only without a key
    from linkspan_sandbox import Reply, Rule, run  # noqa: PLC0415

    both = [ToolCall(None, "departures", '{"port": "Ostra"}')]
    both.append(ToolCall(None, "fare", '{"port": "Ostra", "vehicle": "car"}'))
    trip = Reply(tool_calls=[ToolCall(None, "Trip", '{"departure": "09:00", "euros": 31}')])
    rules = [
        Rule(Reply(tool_calls=both), role="user"),
        Rule(trip, role="tool", when=lambda call: call.tool_choice == "required"),
        Rule("The next ferry to Ostra leaves at 09:00, and a car costs 31 euros.", role="tool"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
