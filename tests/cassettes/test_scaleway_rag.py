"""Retrieval on one key in both frameworks over recordings of vLLM: embeddings, a vector store, rerank, an answer.

The store lies in memory, so a cassette holds all that a service sees of it: the texts once, the question, the ranking
of what was found, and the chat about the best of it.
"""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import PromptTemplate, VectorStoreIndex
from llama_index.core.schema import TextNode

from linkspan.langchain import ScalewayEmbeddings, ScalewayRerank
from llama_index.embeddings.scaleway import ScalewayEmbedding
from llama_index.postprocessor.scaleway_rerank import ScalewayRerank as NodeRerank
from tests.cassettes.constructors import chat_model, connection, llm

if TYPE_CHECKING:
    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("vllm-rag")

TEXTS = ["Bread is baked in an oven.", "Cars may travel on this ferry.", "The ferry to Ostra leaves at nine."]
QUESTION = "When does the ferry to Ostra leave?"
BEST = TEXTS[2]
PROMPT = "Passages:\n{context_str}\n\nQuestion: {query_str}"


def check(tape: Tape, answer: str, ranking: list[tuple[str, float]]) -> None:
    """Compare what a user got with what the servers said, and each step's request with the step before it."""
    assert tape.routes == ["embeddings", "embeddings", "rerank", "completions"]
    texts, question, rerank, chat = tape.requests
    assert (texts["input"], question["input"]) == (TEXTS, [QUESTION])
    # The store found the two about ferries, whichever of them is nearer.
    assert set(rerank["documents"]) == set(TEXTS[1:])
    assert (rerank["query"], rerank["top_n"]) == (QUESTION, 1)
    (best,) = json.loads(tape.text_of(2))["results"]
    assert ranking == [(BEST, best["relevance_score"])]
    assert rerank["documents"][best["index"]] == BEST
    assert chat["messages"][-1]["content"] == PROMPT.format(context_str=BEST, query_str=QUESTION)
    assert chat["model"] != texts["model"]
    assert answer == answered(tape) != ""


def answered(tape: Tape) -> str:
    """The text of the last answer, whole or streamed."""
    text = tape.text_of(3)
    if not tape.requests[3].get("stream"):
        return str(json.loads(text)["choices"][0]["message"]["content"])
    events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n") if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


# ---------------------------------------------------------------------- LangChain


def chain(tape: Tape) -> Runnable[str, Any]:
    """From a question to the documents that were found and ranked, and an answer."""
    rerank = ScalewayRerank(**connection(tape.of("rerank")), top_n=1)
    store = InMemoryVectorStore(ScalewayEmbeddings(**connection(tape.of("embeddings"))))
    store.add_documents([Document(text, id=str(place)) for place, text in enumerate(TEXTS)])
    ranked = RunnableLambda(
        lambda step: rerank.compress_documents(step["found"], step["query_str"]),
        lambda step: rerank.acompress_documents(step["found"], step["query_str"]),
    )
    asked = {"query_str": RunnablePassthrough()} | RunnablePassthrough.assign(
        found=itemgetter("query_str") | store.as_retriever(search_kwargs={"k": 2})
    )
    read = RunnablePassthrough.assign(context_str=lambda step: step["documents"][0].page_content)
    answer = read | ChatPromptTemplate.from_template(PROMPT) | chat_model(tape, max_tokens=16) | StrOutputParser()
    return asked | RunnablePassthrough.assign(documents=ranked) | RunnablePassthrough.assign(answer=answer)


def scores(documents: list[Document]) -> list[tuple[str, float]]:
    return [(document.page_content, document.metadata["relevance_score"]) for document in documents]


def test_langchain_invoke(tape: Tape) -> None:
    result = chain(tape).invoke(QUESTION)
    check(tape, result["answer"], scores(result["documents"]))


async def test_langchain_astream(tape: Tape) -> None:
    parts = [part async for part in chain(tape).astream(QUESTION)]
    pieces = [part["answer"] for part in parts if part.get("answer")]
    (documents,) = [part["documents"] for part in parts if "documents" in part]
    assert len(pieces) > 3
    check(tape, "".join(pieces), scores(documents))


# ---------------------------------------------------------------------- LlamaIndex


def engine(tape: Tape, **options: Any) -> Any:
    index = VectorStoreIndex(
        [TextNode(text=text, id_=str(place)) for place, text in enumerate(TEXTS)],
        embed_model=ScalewayEmbedding(**connection(tape.of("embeddings"))),
    )
    return index.as_query_engine(
        llm=llm(tape, max_tokens=16),
        similarity_top_k=2,
        node_postprocessors=[NodeRerank(**connection(tape.of("rerank")), top_n=1)],
        text_qa_template=PromptTemplate(PROMPT),
        **options,
    )


def sources(answer: Any) -> list[tuple[str, float]]:
    return [(found.node.get_content(), found.score) for found in answer.source_nodes]


def test_llama_index_stream(tape: Tape) -> None:
    answer = engine(tape, streaming=True).query(QUESTION)
    pieces = [piece for piece in answer.response_gen if piece]
    assert len(pieces) > 3
    check(tape, "".join(pieces), sources(answer))


async def test_llama_index_aquery(tape: Tape) -> None:
    answer = await engine(tape).aquery(QUESTION)
    check(tape, str(answer), sources(answer))
