"""Scale LLM Engine in LangChain: a prompt chain, a choice, an object, and an agent that streams its answer.

``python examples/langchain_llm_engine.py`` calls the deployment at ``LLM_ENGINE_BASE_PATH``, with the key in
``SCALE_API_KEY``, if that address is set. Without it, it starts a stand-in on this machine that answers from a script:
``pip install 'linkspan[langchain,sandbox]' langchain``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from enum import Enum
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.prompts import PromptTemplate
from langchain_core.tools import tool
from pydantic import BaseModel

from linkspan.langchain import ChatLLMEngine, LLMEngine

PROMPT_MODEL = "llama-2-7b"
CHAT_MODEL = "llama-3-8b-instruct"
NOTICE = "The 09:00 ferry to Ostra is late: it leaves at 09:40, from quay 3."


class Kind(Enum):
    """The topic of a notice."""

    DELAY = "delay"
    CANCELLATION = "cancellation"


class Departure(BaseModel):
    """A departure."""

    port: str
    time: str
    quay: int


@tool
def departures(port: str) -> str:
    """Return the next departure to a port."""
    return f"The next ferry to {port} leaves at 09:40."


def main() -> None:
    """Call the prompt API (v1) for text; then the chat API (v2) for a choice, an object, and with a tool."""
    with ExitStack() as stack:
        where = {} if os.environ.get("LLM_ENGINE_BASE_PATH") else start_sandbox(stack)
        llm = stack.enter_context(LLMEngine(model=PROMPT_MODEL, max_tokens=100, **where))

        chain = PromptTemplate.from_template("{word}: the meaning of this word in one sentence is:") | llm
        for piece in chain.stream({"word": "Linkspan"}):
            print(piece, end="", flush=True)
        print()
        for answer in chain.batch([{"word": "Ferry"}, {"word": "Quay"}]):
            print("-", answer)

        # With a forced tool, because current images enforce no schema on the prompt API.
        chat = stack.enter_context(ChatLLMEngine(model=CHAT_MODEL, max_tokens=300, **where))
        print(chat.with_structured_output(Kind).invoke(f"{NOTICE}\nWhat this notice is about, in one word:"))
        print(repr(chat.with_structured_output(Departure).invoke(f"{NOTICE}\nThe departure as JSON:")))

        agent = create_agent(chat, [departures], system_prompt="Answer in one sentence.")
        question: Any = {"messages": [{"role": "user", "content": "When does the next ferry to Ostra leave?"}]}
        for message, _ in agent.stream(question, stream_mode="messages"):
            if isinstance(message, AIMessage):
                print(message.text, end="", flush=True)
        print()


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan.conversation import ToolCall  # noqa: PLC0415  # needed only without a deployment
    from linkspan_sandbox import Reply, Rule, run  # noqa: PLC0415

    rules = [
        Rule("A hinged bridge between a quay and a ship.", when="Linkspan"),
        Rule("A ship that carries people and vehicles to and fro.", when="Ferry"),
        Rule("A wall at the water's edge where ships are loaded.", when="Quay"),
        Rule(Reply(tool_calls=[ToolCall(None, "choice", '{"answer": "delay"}')]), when="in one word"),
        Rule(
            Reply(tool_calls=[ToolCall(None, "Departure", '{"port": "Ostra", "time": "09:40", "quay": 3}')]),
            when="as JSON",
        ),
        Rule(Reply(tool_calls=[ToolCall(None, "departures", '{"port": "Ostra"}')]), role="user"),
        Rule("The next ferry to Ostra leaves at 09:40.", role="tool"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.llm_engine_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
