r"""DataCrunch (Verda) in LlamaIndex: a completion, the best of several, an object, a streamed chat, a query engine.

The call of DataCrunch's documentation,

    curl https://inference.datacrunch.io/v1/completions/generate \
      -H "Authorization: Bearer $DATACRUNCH_API_KEY" -H "Content-Type: application/json" \
      -d '{"model": "mixtral", "inputs": "What is a linkspan?", "parameters": {"max_new_tokens": 60, "details": true}}'

is, with the key in the environment,

    DataCrunch(model="mixtral", max_tokens=60).complete("What is a linkspan?")

``generate_stream`` is ``.stream_complete(...)`` of the same object; ``details`` are in ``additional_kwargs``. For a
container or your own TGI server, set ``base_url``.

``python examples/llama_index_datacrunch.py`` calls the real service if ``DATACRUNCH_API_KEY`` is set (and
``DATACRUNCH_BASE_URL`` for a container). Without a key it starts a stand-in on this machine that answers from a script:
``pip install 'linkspan[llama-index,sandbox]'``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from llama_index.core import PromptTemplate, SummaryIndex
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import TextNode
from pydantic import BaseModel

from llama_index.llms.datacrunch import DataCrunch

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

        print(llm.complete("What is a linkspan?"))

        best = llm.complete("What is a quay?", best_of=2, temperature=0.7)
        facts = best.additional_kwargs
        print(f"{best} ({facts.get('finish_reason')}, {facts.get('generated_tokens')} tokens)")
        print(f"1 of {1 + len(facts.get('best_of_sequences', ()))} answers")

        prompt = PromptTemplate("{notice}\nThe departure as JSON:")
        print(repr(llm.structured_predict(Departure, prompt, notice=NOTICE)))

        # The model's format cannot be guessed from its name on the legacy endpoint.
        llm.chat_template = "mistral"
        for chunk in llm.stream_chat([ChatMessage("And what is a ferry?")]):
            print(chunk.delta, end="", flush=True)
        print()

        engine = SummaryIndex([TextNode(text=NOTICE)]).as_query_engine(llm=llm, streaming=True)
        answer: Any = engine.query("Which quay does the ferry leave from?")
        for piece in answer.response_gen:
            print(piece, end="", flush=True)
        print()


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    rules = [
        Rule("A hinged bridge between a quay and a ship.", when="What is a linkspan"),
        Rule("A wall at the water's edge.", when="What is a quay"),
        Rule('{"port": "Ostra", "time": "09:40", "quay": 3}', when="as JSON"),
        Rule("A ship that carries people and vehicles to and fro.", when="what is a ferry"),
        Rule("It leaves from quay 3.", when="Which quay"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.datacrunch_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
