"""A LlamaIndex query engine with Scaleway: it streams an answer from three short passages, and shows its source.

``python examples/llama_index_query_engine.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it
starts a stand-in on this machine that answers from a script: ``pip install 'linkspan[llama-index,sandbox]'``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode

from llama_index.embeddings.scaleway import ScalewayEmbedding
from llama_index.llms.scaleway import Scaleway

EMBEDDING_MODEL = "qwen3-embedding-8b"
MODEL = "llama-3.3-70b-instruct"
PASSAGES = (
    "A linkspan is a hinged bridge between a quay and a ship. Cars drive on board over it, whatever the tide.",
    "The linkspan of the harbour of Ostra was built in 1974. It is 60 metres long and carries 180 tonnes.",
    "The ferry to Ostra leaves every day at 9 o'clock and takes two hours. Bicycles travel free of charge.",
)
QUESTION = "How long is the linkspan of Ostra?"


def main() -> None:
    """Ask one question."""
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        llm = stack.enter_context(Scaleway(model=MODEL, temperature=0, max_tokens=200, **where))

        embed_model = stack.enter_context(ScalewayEmbedding(model=EMBEDDING_MODEL, **where))
        index = VectorStoreIndex([TextNode(text=text) for text in PASSAGES], embed_model=embed_model)
        engine = index.as_query_engine(llm=llm, similarity_top_k=1, streaming=True)

        answer: Any = engine.query(QUESTION)
        print(QUESTION)
        for piece in answer.response_gen:
            print(piece, end="", flush=True)
        print()
        for source in answer.source_nodes:
            print("Source:", source.node.get_content())


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    # Embeddings need no rule, because the stand-in compares words.
    sandbox = stack.enter_context(run(rules=[Rule("It is 60 metres long.", when="How long is the linkspan")]))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
