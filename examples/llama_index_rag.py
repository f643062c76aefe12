"""LlamaIndex retrieval with one Scaleway key: embed, search, rerank, answer; streamed, with its sources, then async.

``python examples/llama_index_rag.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a
stand-in on this machine that answers from a script: ``pip install 'linkspan[llama-index,sandbox]'``.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode

from llama_index.embeddings.scaleway import ScalewayEmbedding
from llama_index.llms.scaleway import Scaleway
from llama_index.postprocessor.scaleway_rerank import ScalewayRerank

CHAT_MODEL = "llama-3.3-70b-instruct"
EMBEDDING_MODEL = "qwen3-embedding-8b"
PASSAGES = {
    "harbour.md": "The linkspan of Ostra was built in 1974. It is 60 metres long.",
    "limits.md": "The linkspan of Ostra carries vehicles of up to 180 tonnes.",
    "ferry.md": "The ferry to Ostra leaves every day at 9 o'clock and takes two hours.",
    "fares.md": "Bicycles travel free of charge, dogs on a lead.",
}


def main() -> None:
    """Ask two questions."""
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        llm = stack.enter_context(Scaleway(model=CHAT_MODEL, temperature=0, max_tokens=200, **where))
        embed_model = stack.enter_context(ScalewayEmbedding(model=EMBEDDING_MODEL, **where))
        reranker = stack.enter_context(ScalewayRerank(top_n=2, **where))

        # Compare only the text: file names mean nothing here.
        nodes = [
            TextNode(text=text, metadata={"source": source}, excluded_embed_metadata_keys=["source"])
            for source, text in PASSAGES.items()
        ]
        index = VectorStoreIndex(nodes, embed_model=embed_model)
        options: dict[str, Any] = {"llm": llm, "similarity_top_k": 3, "node_postprocessors": [reranker]}

        answer: Any = index.as_query_engine(streaming=True, **options).query("How long is the linkspan of Ostra?")
        for piece in answer.response_gen:
            print(piece, end="", flush=True)
        print()
        for source in answer.source_nodes:
            print(f"- {source.node.metadata['source']} ({source.get_score():.2f})")

        async def ask(question: str) -> str:
            # Connections belong to an event loop: close them before it ends.
            async with llm, embed_model, reranker:
                return str(await index.as_query_engine(**options).aquery(question))

        print(asyncio.run(ask("What do bicycles cost?")))


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    # Embeddings and rerank need no rules, because the stand-in compares words.
    rules = [Rule("It is 60 metres long.", when="How long"), Rule("Nothing: they travel free.", when="bicycles cost")]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
