"""Chains, retrievers, evaluators, caches and agents of langchain-classic, and others' evaluators and servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, trim_messages
from langchain_core.output_parsers import PydanticOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import BaseModel

from linkspan.langchain import ScalewayEmbeddings, ScalewayRerank
from tests.ecosystem.conftest import KEY, as_asked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan_sandbox import Sandbox

component = pytest.mark.component
PAGES = [Document("The linkspan of Ostra is 60 metres long."), Document("Ferries leave at nine.")]


class Trip(BaseModel):
    """A trip."""

    city: str


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"Sunny in {city}."


@pytest.fixture
def store(served: Sandbox) -> Any:
    embeddings = ScalewayEmbeddings(model="qwen3-embedding-8b", base_url=served.scaleway_url, api_key=KEY)
    return InMemoryVectorStore.from_documents(PAGES, embeddings)


@component("langchain-classic", "load_summarize_chain: stuff, map_reduce, refine")
@pytest.mark.parametrize("kind", ["stuff", "map_reduce", "refine"])
def test_summaries(chat: Any, kind: str) -> None:
    from langchain_classic.chains.summarize import load_summarize_chain

    assert load_summarize_chain(chat, chain_type=kind).invoke({"input_documents": PAGES})["output_text"]


@component("langchain-classic", "create_retrieval_chain, create_stuff_documents_chain")
def test_retrieval_chain(chat: Any, store: Any) -> None:
    from langchain_classic.chains import create_retrieval_chain
    from langchain_classic.chains.combine_documents import create_stuff_documents_chain

    prompt = ChatPromptTemplate([("system", "Answer by {context}"), ("human", "{input}")])
    chain = create_retrieval_chain(store.as_retriever(), create_stuff_documents_chain(chat, prompt))
    answer = chain.invoke({"input": "How long is it?"})
    assert answer["answer"]
    assert len(answer["context"]) == 2


@component("langchain-classic", "create_history_aware_retriever")
def test_history_aware_retriever(chat: Any, store: Any) -> None:
    from langchain_classic.chains import create_history_aware_retriever

    prompt = ChatPromptTemplate([MessagesPlaceholder("chat_history"), ("human", "{input}"), ("human", "Rephrase it.")])
    retriever = create_history_aware_retriever(chat, store.as_retriever(), prompt)
    assert retriever.invoke({"input": "How long?", "chat_history": [HumanMessage("Hi"), AIMessage("Hello")]})


@component("langchain-classic", "RetrievalQA, ConversationalRetrievalChain")
def test_old_chains(chat: Any, store: Any) -> None:
    from langchain_classic.chains import ConversationalRetrievalChain, RetrievalQA

    assert RetrievalQA.from_chain_type(chat, retriever=store.as_retriever()).invoke("How long?")["result"]
    chain = ConversationalRetrievalChain.from_llm(chat, store.as_retriever())
    assert chain.invoke({"question": "How long?", "chat_history": [("Hi", "Hello")]})["answer"]


@component("langchain-classic", "MultiQueryRetriever")
def test_multi_query(chat: Any, store: Any) -> None:
    from langchain_classic.retrievers import MultiQueryRetriever

    assert MultiQueryRetriever.from_llm(store.as_retriever(), chat).invoke("How long?")


@component("langchain-classic", "ContextualCompressionRetriever: LLMChainExtractor, LLMChainFilter, ScalewayRerank")
@pytest.mark.parametrize("kind", ["extractor", "filter", "rerank"])
def test_compressors(chat: Any, store: Any, served: Sandbox, kind: str) -> None:
    from langchain_classic.retrievers import ContextualCompressionRetriever
    from langchain_classic.retrievers.document_compressors import LLMChainExtractor, LLMChainFilter

    if kind == "filter":
        served.add_rule("YES", when="> ")
    compressor: Any = {
        "extractor": lambda: LLMChainExtractor.from_llm(chat),
        "filter": lambda: LLMChainFilter.from_llm(chat),
        "rerank": lambda: ScalewayRerank(base_url=served.scaleway_url, api_key=KEY, top_n=1),
    }[kind]()
    retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=store.as_retriever())
    assert retriever.invoke("How long?")


@component("langchain-classic", "LLMListwiseRerank")
def test_listwise_rerank(chat: Any, served: Sandbox) -> None:
    from langchain_classic.retrievers.document_compressors.listwise_rerank import LLMListwiseRerank

    served.reset()
    ranking = '{"ranked_document_ids": [1, 0]}'
    served.add_rule(lambda call: as_asked(call, ranking))
    assert LLMListwiseRerank.from_llm(chat, top_n=1).compress_documents(PAGES, "When?") == [PAGES[1]]


@component("langchain-classic", "AgentExecutor: tool calling, ReAct")
@pytest.mark.parametrize("kind", ["tools", "react"])
def test_executors(chat: Any, served: Sandbox, kind: str) -> None:
    from langchain_classic.agents import AgentExecutor, create_react_agent, create_tool_calling_agent

    if kind == "tools":
        prompt: Any = ChatPromptTemplate([("human", "{input}"), MessagesPlaceholder("agent_scratchpad")])
        agent: Any = create_tool_calling_agent(chat, [weather], prompt)
    else:
        served.add_rule("Thought: I know.\nFinal Answer: Sunny.")
        prompt = PromptTemplate.from_template("{tools} {tool_names} {input} {agent_scratchpad}")
        agent = create_react_agent(chat, [weather], prompt)
    assert AgentExecutor(agent=agent, tools=[weather]).invoke({"input": "Weather?"})["output"]


@component("langchain-classic", "OutputFixingParser, RetryWithErrorOutputParser")
def test_fixing_parsers(chat: Any, served: Sandbox) -> None:
    from langchain_classic.output_parsers import OutputFixingParser, RetryWithErrorOutputParser

    served.add_rule('{"city": "Ostra"}')
    parser = PydanticOutputParser(pydantic_object=Trip)
    assert OutputFixingParser.from_llm(chat, parser).parse("Ostra") == Trip(city="Ostra")
    retry = RetryWithErrorOutputParser.from_llm(chat, parser)
    assert retry.parse_with_prompt("Ostra", PromptTemplate.from_template("Where?").format_prompt()) == Trip(
        city="Ostra"
    )


@component("langchain-classic", "load_evaluator: qa, criteria, pairwise_string, labeled_score_string")
@pytest.mark.parametrize("kind", ["qa", "criteria", "pairwise_string", "labeled_score_string"])
def test_evaluators(chat: Any, served: Sandbox, kind: str) -> None:
    from langchain_classic.evaluation import load_evaluator

    served.add_rule({"qa": "GRADE: CORRECT", "criteria": "Yes.\n\nY", "pairwise_string": "[[A]]"}.get(kind, "[[7]]"))
    evaluator: Any = load_evaluator(kind, llm=chat)
    if kind == "pairwise_string":
        found = evaluator.evaluate_string_pairs(prediction="60 m", prediction_b="50 m", input="How long?")
    else:
        reference = {} if kind == "criteria" else {"reference": "60 m"}
        found = evaluator.evaluate_strings(prediction="60 m", input="How long?", **reference)
    assert found["score"] in {1, 7}


@component("langchain-core", "RunnableWithMessageHistory, trim_messages, with_fallbacks, batch")
def test_core_pieces(chat: Any) -> None:
    from langchain_core.chat_history import InMemoryChatMessageHistory
    from langchain_core.runnables.history import RunnableWithMessageHistory

    history = InMemoryChatMessageHistory()
    remembering = RunnableWithMessageHistory(chat, lambda _: history)
    remembering.invoke([HumanMessage("Hi")], {"configurable": {"session_id": "1"}})
    assert len(history.messages) == 2
    assert len(trim_messages(history.messages, max_tokens=1000, token_counter=chat)) == 2
    chain = ChatPromptTemplate([("human", "{word}")]) | chat.with_fallbacks([chat]) | StrOutputParser()
    assert len(chain.batch([{"word": "a"}, {"word": "b"}])) == 2


@component("langchain-core", "InMemoryCache")
@component("langchain-community", "SQLiteCache")
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_caches(chat: Any, served: Sandbox, tmp_path: Any, kind: str) -> None:
    from langchain_community.cache import SQLiteCache
    from langchain_core.caches import InMemoryCache

    cached = chat.model_copy()
    cached.cache = SQLiteCache(str(tmp_path / "cache.db")) if kind == "sqlite" else InMemoryCache()
    assert cached.invoke("Hi").text == cached.invoke("Hi").text
    assert len(list(served.requests)) == 1


@component("langchain-core", "get_usage_metadata_callback")
def test_usage(chat: Any) -> None:
    from langchain_core.callbacks import get_usage_metadata_callback

    with get_usage_metadata_callback() as counted:
        chat.invoke("Hi")
    [usage] = counted.usage_metadata.values()
    assert usage["input_tokens"] > 0


@component("langserve", "add_routes, RemoteRunnable")
def test_server(chat: Any) -> None:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient
    from langserve import add_routes

    app = FastAPI()
    add_routes(app, ChatPromptTemplate([("human", "{word}")]) | chat | StrOutputParser(), path="/chain")
    with TestClient(app) as client:
        assert client.post("/chain/invoke", json={"input": {"word": "Hi"}}).json()["output"]


@component("openevals", "create_llm_as_judge")
def test_judge(chat: Any, served: Sandbox) -> None:
    from openevals.llm import create_llm_as_judge

    judge = create_llm_as_judge(prompt="Is {outputs} right for {inputs}?", judge=chat, feedback_key="right")
    assert isinstance(judge(inputs="How long?", outputs="60 m")["score"], bool)


@component("agentevals", "create_trajectory_llm_as_judge")
def test_trajectory_judge(chat: Any) -> None:
    from agentevals.trajectory.llm import create_trajectory_llm_as_judge

    judge = create_trajectory_llm_as_judge(judge=chat)
    assert isinstance(
        judge(outputs=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])["score"], bool
    )


@component("ragas", "LangchainLLMWrapper")
async def test_ragas(chat: Any) -> None:
    from langchain_core.prompt_values import StringPromptValue
    from ragas.llms import LangchainLLMWrapper

    wrapped = LangchainLLMWrapper(chat)
    found = await wrapped.generate(StringPromptValue(text="Hi"), n=2)
    assert len(found.generations[0]) == 2
    assert wrapped.is_finished(found)


@pytest.fixture(scope="module", params=["openinference", "traceloop"])
def spans(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Where an instrumentation puts its spans; each is switched on once, as a program does."""
    from openinference.instrumentation.langchain import LangChainInstrumentor
    from opentelemetry.instrumentation.langchain import LangchainInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor: Any = LangChainInstrumentor() if request.param == "openinference" else LangchainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()


@component("openinference-instrumentation-langchain", "LangChainInstrumentor")
@component("opentelemetry-instrumentation-langchain", "LangchainInstrumentor")
def test_traces(chat: Any, spans: Any) -> None:
    spans.clear()
    chat.invoke("Hi")
    told = [value for span in spans.get_finished_spans() for value in (span.attributes or {}).values()]
    assert chat.model_name in told
    assert KEY not in str(told)
