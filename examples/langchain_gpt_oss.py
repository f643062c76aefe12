"""gpt-oss-120b with tools in LangChain: it reasons, calls two tools in one turn, and answers from their results.

Scaleway supports this model's tools only over its Responses API. Nothing has to be set: a call with tools goes there by
itself, a call without goes to Chat Completions; ``api="responses"`` or ``api="chat"`` would say which.

``python examples/langchain_gpt_oss.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a
stand-in on this machine that answers from a script: ``pip install 'linkspan[langchain]' linkspan-sandbox``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from linkspan.langchain import ChatScaleway

QUESTION = "When does the next ferry to Ostra leave, and what does a car cost?"


@tool
def departures(port: str) -> str:
    """Return the next departure to a port."""
    return f"The next ferry to {port} leaves at 09:00."


@tool
def fare(port: str, vehicle: str) -> str:
    """Return the price of a crossing with a vehicle."""
    return f"A {vehicle} to {port} costs 31 euros."


TOOLS = {made.name: made for made in (departures, fare)}


def main() -> None:
    """Run the tool loop until the model calls no more tools."""
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        # Its reasoning is sent back with its calls, so that it can continue from there.
        chat = stack.enter_context(ChatScaleway(model="gpt-oss-120b", send_reasoning=True, max_tokens=900, **where))
        model = chat.bind_tools(list(TOOLS.values()))
        turns: list[Any] = [HumanMessage(QUESTION)]
        while True:
            first, *rest = list(model.stream(turns))
            answer = sum(rest, first)
            turns.append(answer)
            if answer.additional_kwargs.get("reasoning_content"):
                print(f"({answer.additional_kwargs['reasoning_content']})")
            if not answer.tool_calls:
                break
            for call in answer.tool_calls:
                print(f"> {call['name']} {call['args']}")
                turns.append(TOOLS[call["name"]].invoke(call))
                print(f"< {turns[-1].text}")
        print(answer.text)
        print(chat.invoke("What is a linkspan?").text)


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Reply, Rule, ToolCall, run  # noqa: PLC0415  # needed only without a key

    calls = [
        ToolCall(None, "departures", '{"port": "Ostra"}'),
        ToolCall(None, "fare", '{"port": "Ostra", "vehicle": "car"}'),
    ]
    rules = [
        Rule("A hinged bridge between a quay and a ship.", when="linkspan"),
        Rule("The next ferry to Ostra leaves at 09:00, and a car costs 31 euros.", role="tool"),
        Rule(Reply(reasoning="Two things are wanted: a time and a price.", tool_calls=calls)),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
