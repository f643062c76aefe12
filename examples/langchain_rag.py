"""LangChain retrieval with one Scaleway key: embed, search, rerank, answer; streamed, with its sources, then async.

``python examples/langchain_rag.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a
stand-in on this machine that answers from a script: ``pip install 'linkspan[langchain,sandbox]' numpy``.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from linkspan.langchain import ChatScaleway, ScalewayEmbeddings, ScalewayRerank

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever

CHAT_MODEL = "llama-3.3-70b-instruct"
EMBEDDING_MODEL = "qwen3-embedding-8b"
DOCUMENTS = [
    Document("The linkspan of Ostra was built in 1974. It is 60 metres long.", metadata={"source": "harbour.md"}),
    Document("The linkspan of Ostra carries vehicles of up to 180 tonnes.", metadata={"source": "limits.md"}),
    Document("The ferry to Ostra leaves every day at 9 o'clock and takes two hours.", metadata={"source": "ferry.md"}),
    Document("Bicycles travel free of charge, dogs on a lead.", metadata={"source": "fares.md"}),
]
PROMPT = ChatPromptTemplate.from_template(
    "Answer in one sentence, from these passages alone.\n\n{passages}\n\nQuestion: {question}"
)


def main() -> None:
    """Ask two questions."""
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        chat = stack.enter_context(ChatScaleway(model=CHAT_MODEL, temperature=0, max_tokens=200, **where))
        embeddings = stack.enter_context(ScalewayEmbeddings(model=EMBEDDING_MODEL, **where))
        reranker = stack.enter_context(ScalewayRerank(top_n=2, **where))

        store = InMemoryVectorStore.from_documents(DOCUMENTS, embeddings)
        chain = rag(store.as_retriever(search_kwargs={"k": 3}), reranker, chat)

        sources: list[Document] = []
        for step in chain.stream({"question": "How long is the linkspan of Ostra?"}):
            sources = step.get("documents", sources)
            print(step.get("answer", ""), end="", flush=True)
        print()
        for document in sources:
            print(f"- {document.metadata['source']} ({document.metadata['relevance_score']:.2f})")

        async def ask(question: str) -> str:
            # Connections belong to an event loop: close them before it ends.
            async with chat, embeddings, reranker:
                return str((await chain.ainvoke({"question": question}))["answer"])

        print(asyncio.run(ask("What do bicycles cost?")))


def rag(retriever: BaseRetriever, reranker: ScalewayRerank, chat: ChatScaleway) -> Runnable[dict[str, Any], Any]:
    """Return a chain from ``{"question"}`` to ``{"question", "documents", "answer"}``."""

    def rerank(step: dict[str, Any]) -> Any:
        return reranker.compress_documents(step["found"], step["question"])

    async def arerank(step: dict[str, Any]) -> Any:
        return await reranker.acompress_documents(step["found"], step["question"])

    documents = RunnablePassthrough.assign(found=itemgetter("question") | retriever) | RunnableLambda(rerank, arerank)
    answer = RunnablePassthrough.assign(passages=passages) | PROMPT | chat | StrOutputParser()
    return RunnablePassthrough.assign(documents=documents) | RunnablePassthrough.assign(answer=answer)


def passages(step: dict[str, Any]) -> str:
    """Return the documents' texts."""
    return "\n\n".join(document.page_content for document in step["documents"])


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    # Embeddings and rerank need no rules, because the stand-in compares words.
    rules = [Rule("It is 60 metres long.", when="How long"), Rule("Nothing: they travel free.", when="bicycles cost")]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
