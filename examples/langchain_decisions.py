"""Decisions with LangChain and Scaleway: typed questions, judged tool calls, and a routed agent.

``python examples/langchain_decisions.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts
a stand-in on this machine that answers from a script: ``pip install 'linkspan[langchain,sandbox]' langchain``. Decision
models need langchain-core 1.8.
"""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AutoModeMiddleware  # type: ignore[attr-defined]  # langchain 1.5 has it
from langchain_core.decisions import Choice, Noul, Score

from linkspan.langchain import ChatDecisionModel, ChatScaleway

MODEL = "mistral-small-3.2-24b-instruct-2506"
LETTER = "My ferry was cancelled and nobody answers the telephone. I want my money back today."


def cancel_booking(number: int) -> str:
    """Cancel a booking, for good."""
    return f"Booking {number} is cancelled."


def main() -> None:
    """Ask three questions about a letter, then judge an agent's tool call."""
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        chat = stack.enter_context(ChatScaleway(model=MODEL, **where))
        decisions = ChatDecisionModel(chat=chat)

        teams = {"refunds": "money back", "timetable": "departures and delays", "lost property": None}
        answer = decisions.invoke(
            {
                "state": LETTER,
                "questions": {
                    "urgent": Noul(instructions="Must somebody answer this letter today?"),
                    "team": Choice(instructions="Which team answers this letter?", criteria=teams),
                    "anger": Score(instructions="How angry is the writer?", criteria=["calm", "annoyed", "furious"]),
                },
            }
        )
        team = answer.choices["team"]
        print(f"urgent: {answer.nouls['urgent'].noul:.2f}")
        print(f"team: {team.choice} ({team.confidence:.2f})")
        print(f"anger: {answer.scores['anger'].score:.2f} of 2")

        # langchain's middleware: a risky or unrequested call does not run.
        guard = AutoModeMiddleware(tools=[cancel_booking.__name__], classifier=decisions)
        agent = create_agent(chat, [cancel_booking], middleware=[guard])
        question = {"role": "user", "content": "When does the ferry leave?"}
        for message in agent.invoke({"messages": [question]})["messages"]:
            if message.type == "tool":
                print(message.text)


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan.conversation import ToolCall  # noqa: PLC0415  # needed only without a key
    from linkspan_sandbox import Reply, Rule, run  # noqa: PLC0415

    rules = [
        Rule(likely(Yes=0.85, No=0.15), when="Must somebody answer"),
        Rule(likely(A=0.9, B=0.08, C=0.02), when="Which team"),
        Rule(likely(B=0.6, C=0.3, A=0.1), when="How angry"),
        Rule(likely(Yes=0.97, No=0.03), when="be risky or insufficiently authorized"),
        Rule("At nine.", role="tool"),
        Rule(Reply(tool_calls=[ToolCall(None, "cancel_booking", '{"number": 7}')]), when="When does the ferry leave"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


def likely(**tokens: float) -> Any:
    """Return an answer of the stand-in whose first token has these probabilities."""
    from linkspan_sandbox import Reply  # noqa: PLC0415  # needed only without a key

    first = [{"token": token, "logprob": math.log(share), "bytes": None} for token, share in tokens.items()]
    message = {"role": "assistant", "content": next(iter(tokens))}
    logprobs = {"content": [{**first[0], "top_logprobs": first}]}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
    return Reply(body={"id": "1", "object": "chat.completion", "model": MODEL, "choices": [choice]})


if __name__ == "__main__":
    main()
