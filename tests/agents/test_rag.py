"""Retrieval on one key in both frameworks: embeddings, a vector store, rerank, an answer; what is sent, and when."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.schema import TextNode

from linkspan.langchain import ScalewayEmbeddings
from linkspan.langchain import ScalewayRerank as LangChainRerank
from linkspan.llama_index import ScalewayEmbedding
from linkspan.llama_index import ScalewayRerank as LlamaIndexRerank
from linkspan_sandbox import Reply, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan.langchain import ChatScaleway
    from linkspan.llama_index import Scaleway

EMBEDDING_MODEL = "qwen3-embedding-8b"
TEXTS = [
    "Bicycles travel free of charge.",
    "The ferry to Ostra leaves at 9 o'clock.",
    "The linkspan of Ostra carries vehicles of 180 tonnes.",
    "The linkspan of Ostra is 60 metres long.",
]
#: Leads the search astray, so that the order of what is found is not yet the right one.
INSTRUCTION = "Ferry, leaves at 9 o'clock: "
QUESTION = "How long is the linkspan of Ostra?"
BEST = [TEXTS[3], TEXTS[2]]
ANSWER = ["It is", " 60 metres", " long."]


def steps(sandbox: Sandbox) -> list[str]:
    return [request.path.rpartition("/")[2] for request in sandbox.requests]


def bodies(sandbox: Sandbox, route: str) -> list[dict[str, Any]]:
    return [request.json for request in sandbox.requests if request.path.endswith(f"/{route}")]


def check_wire(sandbox: Sandbox) -> None:
    """The texts once, then for each question: its vector, the ranking of what was found, the answer."""
    assert steps(sandbox) == ["embeddings", "embeddings", "rerank", "completions"]
    texts, query = bodies(sandbox, "embeddings")
    assert texts["input"] == TEXTS
    assert query["input"] == [INSTRUCTION + QUESTION]
    assert texts["model"] == query["model"] == EMBEDDING_MODEL
    (ranking,) = bodies(sandbox, "rerank")
    assert ranking["query"] == QUESTION
    assert ranking["documents"][0] == TEXTS[1]
    assert set(ranking["documents"]) == set(TEXTS[1:])
    assert ranking["top_n"] == 2
    (chat,) = bodies(sandbox, "completions")
    prompt = str(chat["messages"])
    assert [text for text in TEXTS if text in prompt] == TEXTS[2:]
    assert prompt.index(BEST[0]) < prompt.index(BEST[1]) < prompt.index(QUESTION)


# --------------------------------------------------------------------------- LangChain


@pytest.fixture
def chain(chat: ChatScaleway, where: dict[str, Any]) -> Iterator[Any]:
    with (
        ScalewayEmbeddings(model=EMBEDDING_MODEL, query_instruction=INSTRUCTION, **where) as embeddings,
        LangChainRerank(top_n=2, **where) as rerank,
    ):
        store = InMemoryVectorStore.from_documents([Document(text) for text in TEXTS], embeddings)
        retriever = store.as_retriever(search_kwargs={"k": 3})
        reranked = RunnableLambda(
            lambda step: rerank.compress_documents(step["found"], step["question"]),
            lambda step: rerank.acompress_documents(step["found"], step["question"]),
        )
        prompt = ChatPromptTemplate.from_template("{passages}\n\n{question}")
        passages = RunnablePassthrough.assign(
            passages=lambda step: "\n".join(document.page_content for document in step["documents"])
        )
        documents = RunnablePassthrough.assign(found=itemgetter("question") | retriever) | reranked
        answer = passages | prompt | chat | StrOutputParser()
        yield RunnablePassthrough.assign(documents=documents) | RunnablePassthrough.assign(answer=answer)


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_langchain(chain: Any, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(Reply(ANSWER))
    given = {"question": QUESTION}
    if way == "invoke":
        parts = [chain.invoke(given)]
    elif way == "ainvoke":
        parts = [await chain.ainvoke(given)]
    elif way == "stream":
        parts = list(chain.stream(given))
    else:
        parts = [part async for part in chain.astream(given)]
    pieces = [part["answer"] for part in parts if part.get("answer")]
    assert pieces == (ANSWER if "stream" in way else ["".join(ANSWER)])
    (documents,) = [part["documents"] for part in parts if "documents" in part]
    assert [document.page_content for document in documents] == BEST
    first, second = [document.metadata["relevance_score"] for document in documents]
    assert first > second > 0
    check_wire(sandbox)


async def test_langchain_batches(chain: Any, sandbox: Sandbox) -> None:
    questions = [{"question": f"{QUESTION} ({number})"} for number in range(4)]
    answers = await chain.abatch(questions)
    # Without a rule the sandbox repeats what it was asked: each answer belongs to its own question.
    for given, result in zip(questions, answers, strict=True):
        assert result["answer"].endswith(given["question"])
    assert [result["documents"][0].page_content for result in answers] == [TEXTS[3]] * 4


# --------------------------------------------------------------------------- LlamaIndex


@pytest.fixture
def index(where: dict[str, Any]) -> Iterator[VectorStoreIndex]:
    with ScalewayEmbedding(model=EMBEDDING_MODEL, query_instruction=INSTRUCTION, **where) as embed_model:
        yield VectorStoreIndex([TextNode(text=text) for text in TEXTS], embed_model=embed_model)


@pytest.fixture
def options(llm: Scaleway, where: dict[str, Any]) -> Iterator[dict[str, Any]]:
    with LlamaIndexRerank(top_n=2, **where) as rerank:
        yield {"llm": llm, "similarity_top_k": 3, "node_postprocessors": [rerank]}


@pytest.mark.parametrize("way", ["query", "aquery", "stream", "astream"])
async def test_llama_index(index: VectorStoreIndex, options: dict[str, Any], sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(Reply(ANSWER))
    engine = index.as_query_engine(streaming="stream" in way, **options)
    found: Any = await engine.aquery(QUESTION) if way.startswith("a") else engine.query(QUESTION)
    if way == "stream":
        pieces = [piece for piece in found.response_gen if piece]
    elif way == "astream":
        pieces = [piece async for piece in found.response_gen if piece]
    else:
        pieces = [str(found)]
    assert pieces == (ANSWER if "stream" in way else ["".join(ANSWER)])
    assert [source.node.get_content() for source in found.source_nodes] == BEST
    assert found.source_nodes[0].get_score() > found.source_nodes[1].get_score() > 0
    check_wire(sandbox)


@pytest.mark.parametrize("way", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_a_llama_index_chat_engine(
    index: VectorStoreIndex, options: dict[str, Any], sandbox: Sandbox, way: str
) -> None:
    sandbox.add_rule("How wide is the linkspan of Ostra?", when="standalone question")
    sandbox.add_rule(Reply(ANSWER))
    engine = index.as_chat_engine(chat_mode=ChatMode.CONDENSE_PLUS_CONTEXT, **options)
    said = []
    for question in (QUESTION, "And how wide?"):
        answer: Any = getattr(engine, way)(question)
        answer = await answer if way.startswith("a") else answer
        if way == "stream_chat":
            said.append("".join(answer.response_gen))
        elif way == "astream_chat":
            said.append("".join([piece async for piece in answer.async_response_gen()]))
        else:
            said.append(str(answer))
    assert said == ["It is 60 metres long."] * 2
    assert bodies(sandbox, "rerank")[1]["query"] == "How wide is the linkspan of Ostra?"
    last = bodies(sandbox, "completions")[-1]["messages"]
    assert [message["role"] for message in last] == ["system", "user", "assistant", "user"]
    assert BEST[0] in last[0]["content"]
    assert [message["content"] for message in last[1:]] == [QUESTION, "It is 60 metres long.", "And how wide?"]
