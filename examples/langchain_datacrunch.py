r"""DataCrunch (Verda) in LangChain: a completion, a stream, the best of several, an object, and chat by a template.

The call of DataCrunch's documentation,

    curl https://inference.datacrunch.io/v1/completions/generate \
      -H "Authorization: Bearer $DATACRUNCH_API_KEY" -H "Content-Type: application/json" \
      -d '{"model": "mixtral", "inputs": "What is a linkspan?", "parameters": {"max_new_tokens": 60, "details": true}}'

is, with the key in the environment,

    DataCrunch(model="mixtral", max_tokens=60).invoke("What is a linkspan?")

``generate_stream`` is ``.stream(...)`` of the same object; ``details`` are in ``generation_info``. For a container or
your own TGI server, set ``base_url``.

``python examples/langchain_datacrunch.py`` calls the real service if ``DATACRUNCH_API_KEY`` is set (and
``DATACRUNCH_BASE_URL`` for a container). Without a key it starts a stand-in on this machine that answers from a script:
``pip install 'linkspan[langchain,sandbox]'``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel

from linkspan.langchain import ChatDataCrunch, DataCrunch

MODEL = "mixtral"
NOTICE = "The 09:00 ferry to Ostra is late: it leaves at 09:40, from quay 3."


class Departure(BaseModel):
    """A departure."""

    port: str
    time: str
    quay: int


def main() -> None:
    """Ask in five ways."""
    with ExitStack() as stack:
        where = {} if os.environ.get("DATACRUNCH_API_KEY") else start_sandbox(stack)
        llm = stack.enter_context(DataCrunch(model=MODEL, max_tokens=60, **where))

        print(llm.invoke("What is a linkspan?"))

        print("Once upon a time", end="")
        for piece in llm.stream("Once upon a time"):
            print(piece, end="", flush=True)
        print()

        best = llm.generate(["What is a quay?"], best_of=2, temperature=0.7).generations[0][0]
        info = best.generation_info or {}
        print(f"{best.text} ({info['finish_reason']}, {info['generated_tokens']} tokens)")
        print(f"1 of {1 + len(info.get('best_of_sequences', ()))} answers")

        print(repr(llm.with_structured_output(Departure).invoke(f"{NOTICE}\nThe departure as JSON:")))

        chat = stack.enter_context(ChatDataCrunch(model=MODEL, chat_template="mistral", max_tokens=60, **where))
        prompt = ChatPromptTemplate([("system", "Answer in one sentence."), ("human", "{question}")])
        for chunk in (prompt | chat).stream({"question": "What is a ferry?"}):
            print(chunk.text, end="", flush=True)
        print()


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    rules = [
        Rule("A hinged bridge between a quay and a ship.", when="linkspan"),
        Rule(" there was a ferry that sailed by night.", when="Once upon a time"),
        Rule("A wall at the water's edge.", when="quay?"),
        Rule('{"port": "Ostra", "time": "09:40", "quay": 3}', when="as JSON"),
        Rule("A ship that carries people and vehicles to and fro.", when="ferry"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.datacrunch_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
