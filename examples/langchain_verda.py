r"""A vLLM or SGLang container on Verda in LangChain: chat, a tool, an object, several answers, and a prompt.

The call of an OpenAI client,

    OpenAI(base_url="https://containers.datacrunch.io/my-deployment/v1", api_key=os.environ["VERDA_API_KEY"])

is, with both in the environment,

    ChatDataCrunch(api="openai")

The model is the one that the server lists; ``.profile`` has its context window once the list has been read.

``python examples/langchain_verda.py`` calls the real container if ``VERDA_API_KEY`` and ``VERDA_BASE_URL`` are set.
Without a key it starts a stand-in on this machine that answers from a script:
``pip install 'linkspan[langchain]' linkspan-sandbox``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from linkspan.langchain import ChatDataCrunch, DataCrunch

NOTICE = "The 09:00 ferry to Ostra is late: it leaves at 09:40, from quay 3."


class Departure(BaseModel):
    """A departure."""

    port: str
    time: str
    quay: int


def next_ferry(port: str) -> str:
    """Say when the next ferry to a port leaves."""
    return f"To {port} at 09:40."


def main() -> None:
    """Ask in six ways."""
    with ExitStack() as stack:
        where = {} if os.environ.get("VERDA_API_KEY") else start_sandbox(stack)
        chat = stack.enter_context(ChatDataCrunch(api="openai", max_tokens=60, **where))

        print(chat.invoke("What is a linkspan?").text)
        print(f"{chat.model_name}: a window of {(chat.profile or {}).get('max_input_tokens')} tokens")

        called = chat.bind_tools([next_ferry]).invoke("When is the next ferry to Ostra?")
        print([(call["name"], call["args"]) for call in called.tool_calls])

        print(repr(chat.with_structured_output(Departure).invoke(f"{NOTICE}\nThe departure as JSON.")))

        answers = chat.generate([[HumanMessage("What is a quay?")]], n=2, presence_penalty=0.5).generations[0]
        print(f"{len(answers)} answers, such as: {answers[0].text}")

        llm = stack.enter_context(DataCrunch(api="openai", max_tokens=60, **where))
        print("Once upon a time", end="")
        for piece in llm.stream("Once upon a time"):
            print(piece, end="", flush=True)
        print()

        for chunk in chat.stream("What is a quay?"):
            print(chunk.text, end="", flush=True)
        print()


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Reply, Rule, ToolCall, run  # noqa: PLC0415  # needed only without a key

    rules = [
        Rule("A hinged bridge between a quay and a ship.", when="linkspan"),
        Rule(Reply(tool_calls=[ToolCall(None, "next_ferry", '{"port": "Ostra"}')]), when="next ferry"),
        Rule('{"port": "Ostra", "time": "09:40", "quay": 3}', when="as JSON"),
        Rule("A wall at the water's edge.", when="quay?"),
        Rule(" there was a ferry that sailed by night.", when="Once upon a time"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.vllm_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
