"""Scale LLM Engine in LlamaIndex: a streamed chat, an object, a query engine, and agents with and without a chat API.

``python examples/llama_index_llm_engine.py`` calls the deployment at ``LLM_ENGINE_BASE_PATH``, with the key in
``SCALE_API_KEY``, if that address is set. Without it, it starts a stand-in on this machine that answers from a script:
``pip install 'linkspan[llama-index,sandbox]'``.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from llama_index.core import PromptTemplate, SummaryIndex
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import TextNode
from pydantic import BaseModel

from llama_index.llms.llm_engine import ChatLLMEngine, LLMEngine

if TYPE_CHECKING:
    from linkspan_sandbox import Call

PROMPT_MODEL = "llama-2-7b"
CHAT_MODEL = "llama-3-8b-instruct"
NOTICE = "The 09:00 ferry to Ostra is late: it leaves at 09:40, from quay 3."
QUESTION = "When does the next ferry to Ostra leave?"


class Departure(BaseModel):
    """A departure."""

    port: str
    time: str
    quay: int


def departures(port: str) -> str:
    """Return the next departure to a port."""
    return f"The next ferry to {port} leaves at 09:40."


def main() -> None:
    """Call the prompt API (v1) for text and the chat API (v2) for an object; then both through agents with a tool."""
    with ExitStack() as stack:
        where = {} if os.environ.get("LLM_ENGINE_BASE_PATH") else start_sandbox(stack)
        llm = stack.enter_context(LLMEngine(model=PROMPT_MODEL, chat_template="llama-2", max_tokens=100, **where))

        for chunk in llm.stream_chat([ChatMessage("What is a linkspan?")]):
            print(chunk.delta, end="", flush=True)
        print()

        # With a forced tool, because current images enforce no schema on the prompt API.
        chat = stack.enter_context(ChatLLMEngine(model=CHAT_MODEL, max_tokens=300, **where))
        prompt = PromptTemplate("{notice}\nThe departure as JSON:")
        print(repr(chat.structured_predict(Departure, prompt, notice=NOTICE)))

        engine = SummaryIndex([TextNode(text=NOTICE)]).as_query_engine(llm=llm, streaming=True)
        answer: Any = engine.query("Which quay does the ferry leave from?")
        for piece in answer.response_gen:
            print(piece, end="", flush=True)
        print()

        asyncio.run(ask_agents(llm, chat))


async def ask_agents(llm: LLMEngine, chat: ChatLLMEngine) -> None:
    """Run an agent that names its tool in text, for the prompt API, and one that calls it, for the chat API."""
    async with llm, chat:
        agents: list[Any] = [ReActAgent(tools=[departures], llm=llm), FunctionAgent(tools=[departures], llm=chat)]
        for agent in agents:
            print(await agent.run(QUESTION))


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan.conversation import ToolCall  # noqa: PLC0415  # needed only without a deployment
    from linkspan_sandbox import Reply, Rule, run  # noqa: PLC0415

    def has_seen_the_tool(call: Call) -> bool:
        return "Observation: The next ferry" in str(call.prompt)

    tool_to_use = 'Thought: I need a tool.\nAction: departures\nAction Input: {"port": "Ostra"}\n'
    rules = [
        Rule(
            Reply(tool_calls=[ToolCall(None, "Departure", '{"port": "Ostra", "time": "09:40", "quay": 3}')]),
            when="as JSON",
        ),
        Rule("A hinged bridge between a quay and a ship.", when="What is a linkspan"),
        Rule("It leaves from quay 3.", when="Which quay"),
        Rule(Reply(tool_calls=[ToolCall(None, "departures", '{"port": "Ostra"}')]), role="user"),
        Rule("At 09:40.", role="tool"),
        Rule("Thought: I can answer without using any more tools.\nAnswer: At 09:40.", when=has_seen_the_tool),
        Rule(tool_to_use),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.llm_engine_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
