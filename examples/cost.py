"""The cost of calls in both frameworks: one answer, a batch, embeddings, and an unknown price.

``python examples/cost.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a stand-in on
this machine that answers from a script: ``pip install 'linkspan[langchain,llama-index,sandbox]'``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from langchain_core.callbacks import get_usage_metadata_callback

from linkspan.costs import UnknownPriceError, cost_of
from linkspan.langchain import ChatScaleway, ScalewayEmbeddings
from linkspan.llama_index import Scaleway

MODEL = "qwen3.8-27b"
EMBEDDING_MODEL = "qwen3-embedding-8b"
#: A dedicated deployment's name for a model: billed by the hour.
DEPLOYED = "meta/llama-3.3-70b-instruct:fp8"


def main() -> None:
    """Make calls and print their cost."""
    with ExitStack() as stack:
        where: dict[str, Any] = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        chat = stack.enter_context(ChatScaleway(model=MODEL, max_tokens=200, **where))
        llm = stack.enter_context(Scaleway(model=MODEL, max_tokens=200, **where))
        embeddings = stack.enter_context(ScalewayEmbeddings(model=EMBEDDING_MODEL, **where))

        answer = chat.invoke("What is a linkspan?")
        cost = cost_of(answer)
        print(f"One answer: {cost}")
        for item in cost.items:
            print(f"  {item.kind}: {item.quantity} tokens at {item.price} {item.currency} a million")

        with get_usage_metadata_callback() as callback:
            chat.batch(["What is a linkspan?", "What is a ferry?"])
        print(f"A batch: {cost_of(callback.usage_metadata, provider='scaleway')}")

        spent = [cost_of(llm.complete(f"What is a {word}?"), provider="scaleway") for word in ("linkspan", "ferry")]
        print(f"Two of LlamaIndex: {sum(spent)}")

        print(f"Embeddings: {cost_of(embeddings.embed(['A hinged bridge', 'A ship']))}")

        try:
            cost_of(answer.usage_metadata, model=DEPLOYED, provider="scaleway")
        except UnknownPriceError as error:
            print(f"Unknown: {error}")


def start_sandbox(stack: ExitStack) -> dict[str, Any]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    rules = [
        Rule("A hinged bridge between a quay and a ship.", when="linkspan"),
        Rule("A ship that carries people and vehicles to and fro.", when="ferry"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
