"""LlamaIndex's engines, agents, programs, evaluators, extractors and indices over linkspan's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import (
    Document,
    PropertyGraphIndex,
    SummaryIndex,
    TreeIndex,
    VectorStoreIndex,
    get_response_synthesizer,
)
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatSummaryMemoryBuffer, Memory
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.tools import FunctionTool, QueryEngineTool
from pydantic import BaseModel

from linkspan.llama_index import ScalewayEmbedding, ScalewayRerank
from tests.ecosystem.conftest import KEY, as_asked

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

component = pytest.mark.component
PAGES = [Document(text="The linkspan of Ostra is 60 metres long."), Document(text="Ferries leave at nine.")]
NODES = [NodeWithScore(node=TextNode(text=page.text), score=0.5) for page in PAGES]
ASKED = "How long is the linkspan?"


class Trip(BaseModel):
    """A trip."""

    city: str


def weather(city: str) -> str:
    """Tell the weather."""
    return f"Sunny in {city}."


@pytest.fixture
def embedding(served: Sandbox) -> ScalewayEmbedding:
    return ScalewayEmbedding(model="qwen3-embedding-8b", base_url=served.scaleway_url, api_key=KEY)


@pytest.fixture
def index(embedding: ScalewayEmbedding) -> VectorStoreIndex:
    return VectorStoreIndex.from_documents(PAGES, embed_model=embedding)


@component("llama-index-core", "query engines: compact, refine, tree_summarize, simple_summarize, accumulate")
@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize", "simple_summarize", "accumulate"])
async def test_query_engines(llm: Any, index: Any, mode: str) -> None:
    engine = index.as_query_engine(llm=llm, response_mode=mode)
    assert str(engine.query(ASKED))
    assert str(await engine.aquery(ASKED))


@component("llama-index-core", "query engines: streamed, with output_cls")
def test_more_query_engines(llm: Any, index: Any) -> None:
    streamed = index.as_query_engine(llm=llm, streaming=True).query(ASKED)
    assert "".join(streamed.response_gen)
    assert isinstance(index.as_query_engine(llm=llm, output_cls=Trip).query(ASKED).response, Trip)


@component("llama-index-core", "chat engines: simple, context, condense_question, condense_plus_context")
@pytest.mark.parametrize("mode", ["simple", "context", "condense_question", "condense_plus_context"])
def test_chat_engines(llm: Any, index: Any, mode: str) -> None:
    engine = index.as_chat_engine(chat_mode=mode, llm=llm)
    assert str(engine.chat(ASKED))
    assert "".join(engine.stream_chat("And when?").response_gen)


@component("llama-index-core", "RouterQueryEngine: LLMSingleSelector, LLMMultiSelector, PydanticSingleSelector")
@pytest.mark.parametrize("kind", ["single", "multi", "pydantic"])
def test_routers(llm: Any, index: Any, served: Sandbox, kind: str) -> None:
    from llama_index.core.query_engine import RouterQueryEngine
    from llama_index.core.selectors import LLMMultiSelector, LLMSingleSelector, PydanticSingleSelector

    choice = '{"index": 0, "reason": "it fits"}' if kind == "pydantic" else '[{"choice": 1, "reason": "it fits"}]'
    served.reset()
    served.add_rule(lambda call: as_asked(call, choice), times=1)
    selectors: Any = {
        "single": LLMSingleSelector.from_defaults,
        "multi": LLMMultiSelector.from_defaults,
        "pydantic": PydanticSingleSelector.from_defaults,
    }
    tools = [QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), description="the harbour")]
    assert str(RouterQueryEngine(selectors[kind](llm=llm), tools, llm=llm).query(ASKED))


@component("llama-index-core", "SubQuestionQueryEngine, QueryFusionRetriever, HyDEQueryTransform")
def test_many_questions(llm: Any, index: Any, served: Sandbox) -> None:
    from llama_index.core.indices.query.query_transform import HyDEQueryTransform
    from llama_index.core.query_engine import SubQuestionQueryEngine, TransformQueryEngine
    from llama_index.core.question_gen import LLMQuestionGenerator
    from llama_index.core.retrievers import QueryFusionRetriever

    engine = index.as_query_engine(llm=llm)
    assert str(TransformQueryEngine(engine, HyDEQueryTransform(llm=llm)).query(ASKED))
    assert QueryFusionRetriever([index.as_retriever()], llm=llm, num_queries=2, use_async=False).retrieve(ASKED)
    served.reset()
    served.add_rule('```json\n{"items": [{"sub_question": "How long?", "tool_name": "harbour"}]}\n```', times=1)
    tools = [QueryEngineTool.from_defaults(engine, name="harbour", description="the harbour")]
    many = SubQuestionQueryEngine.from_defaults(
        tools,
        llm=llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm=llm),
        response_synthesizer=get_response_synthesizer(llm=llm),
        use_async=False,
    )
    assert str(many.query(ASKED))


@component("llama-index-core", "indices: summary, tree, property graph")
def test_indices(llm: Any, embedding: Any) -> None:
    assert str(SummaryIndex.from_documents(PAGES).as_query_engine(llm=llm).query(ASKED))
    assert TreeIndex.from_documents(PAGES, llm=llm, num_children=2).index_struct.all_nodes
    graph = PropertyGraphIndex.from_documents(PAGES, llm=llm, embed_model=embedding, use_async=False)
    assert graph.property_graph_store.get()


@component("llama-index-core", "FunctionAgent, AgentWorkflow with a hand-off, ReActAgent")
async def test_agents(llm: Any, served: Sandbox) -> None:
    agent = FunctionAgent(name="forecaster", description="weather", tools=[weather], llm=llm)
    for asked in (agent, AgentWorkflow(agents=[agent], root_agent="forecaster")):
        handler = asked.run(user_msg="Weather?")
        kinds = [type(event).__name__ async for event in handler.stream_events()]
        assert str(await handler)
        assert "ToolCallResult" in kinds
    served.reset()
    served.add_rule("Thought: I can answer without using any more tools.\nAnswer: Sunny.")
    assert "Sunny" in str(await ReActAgent(tools=[weather], llm=llm).run(user_msg="Weather?"))


@component("llama-index-core", "FunctionAgent(output_cls=...), predict_and_call")
async def test_agent_with_an_object(llm: Any) -> None:
    agent = FunctionAgent(tools=[weather], llm=llm, output_cls=Trip)
    result = await agent.run(user_msg="Weather?")
    assert isinstance(result.get_pydantic_model(Trip), Trip)
    assert str(llm.predict_and_call([FunctionTool.from_defaults(weather)], user_msg="Weather?"))


@component(
    "llama-index-core", "structured_predict, as_structured_llm, LLMTextCompletionProgram, FunctionCallingProgram"
)
async def test_programs(llm: Any, served: Sandbox) -> None:
    from llama_index.core.program import FunctionCallingProgram, LLMTextCompletionProgram
    from llama_index.core.prompts import PromptTemplate

    prompt = PromptTemplate("Where? {place}")
    assert isinstance(llm.structured_predict(Trip, prompt, place="Ostra"), Trip)
    assert isinstance(await llm.astructured_predict(Trip, prompt, place="Ostra"), Trip)
    assert isinstance(llm.as_structured_llm(Trip).chat([ChatMessage("Ostra")]).raw, Trip)
    assert isinstance(FunctionCallingProgram.from_defaults(Trip, "Where? {place}", llm=llm)(place="Ostra"), Trip)
    served.add_rule('{"city": "Ostra"}')
    text = LLMTextCompletionProgram.from_defaults(output_cls=Trip, prompt_template_str="Where? {place}", llm=llm)
    assert text(place="Ostra") == Trip(city="Ostra")


@component("llama-index-core", "evaluators: faithfulness, relevancy, correctness, pairwise, answer, context")
async def test_evaluators(llm: Any, served: Sandbox) -> None:
    from llama_index.core import evaluation

    served.reset()
    served.add_rule("[[A]]", when="Assistant A")
    served.add_rule("4.0\nYES, it is right. [RESULT] 2")
    given: Any = {"query": ASKED, "response": "60 metres", "contexts": [page.text for page in PAGES]}
    for name in ("Faithfulness", "Relevancy", "AnswerRelevancy", "ContextRelevancy"):
        found = await getattr(evaluation, f"{name}Evaluator")(llm=llm).aevaluate(**given)
        assert found.feedback
        assert not found.invalid_result
    correct = await evaluation.CorrectnessEvaluator(llm=llm).aevaluate(**given, reference="60 metres")
    assert correct.score == 4
    pair = evaluation.PairwiseComparisonEvaluator(llm=llm, enforce_consensus=False)
    assert (await pair.aevaluate(query=ASKED, response="60 m", second_response="50 m")).score == 1


@component("llama-index-core", "extractors: title, summary, keyword, questions, document context")
async def test_extractors(llm: Any) -> None:
    from llama_index.core import extractors
    from llama_index.core.storage.docstore import SimpleDocumentStore

    nodes = [TextNode(text=PAGES[0].text)]
    for name in ("TitleExtractor", "SummaryExtractor", "KeywordExtractor", "QuestionsAnsweredExtractor"):
        [found] = await getattr(extractors, name)(llm=llm).aextract(nodes)
        assert all(found.values())
    store = SimpleDocumentStore()
    store.add_documents([PAGES[0]])
    node = TextNode(text="60 metres", relationships={"1": PAGES[0].as_related_node_info()})
    [context] = await extractors.DocumentContextExtractor(docstore=store, llm=llm).aextract([node])
    assert context["context"]


@component("llama-index-core", "LLMRerank, StructuredLLMRerank, ScalewayRerank")
@pytest.mark.parametrize("kind", ["llm", "structured", "scaleway"])
def test_rerankers(llm: Any, served: Sandbox, kind: str) -> None:
    from llama_index.core.postprocessor import LLMRerank, StructuredLLMRerank

    served.reset()
    served.add_rule(
        lambda call: as_asked(
            call,
            '{"documents": [{"document_number": 2, "relevance": 9}]}'
            if kind == "structured"
            else "Doc: 2, Relevance: 9",
        )
    )
    reranker: Any = {
        "llm": lambda: LLMRerank(llm=llm, top_n=1),
        "structured": lambda: StructuredLLMRerank(llm=llm, top_n=1),
        "scaleway": lambda: ScalewayRerank(base_url=served.scaleway_url, api_key=KEY, top_n=1),
    }[kind]()
    found = reranker.postprocess_nodes(NODES, query_str="When?")
    assert len(found) == 1
    if kind != "scaleway":
        assert found[0].node.get_content() == PAGES[1].text


@component("llama-index-core", "Memory, ChatSummaryMemoryBuffer, TokenCountingHandler")
async def test_memory_and_counts(llm: Any) -> None:
    counter = TokenCountingHandler()
    llm.callback_manager = CallbackManager([counter])
    memory = Memory.from_defaults(session_id="1", token_limit=1000)
    agent = FunctionAgent(tools=[weather], llm=llm)
    await agent.run(user_msg="Weather?", memory=memory)
    assert len(await memory.aget_all()) == 4
    llm.chat([ChatMessage("Hi")])
    assert counter.total_llm_token_count > 0
    buffer = ChatSummaryMemoryBuffer.from_defaults(llm=llm, token_limit=20)
    for _ in range(4):
        buffer.put(ChatMessage("word " * 10))
    assert buffer.get()


@component("llama-index-core", "IngestionPipeline with an extractor and embeddings")
def test_ingestion(llm: Any, embedding: Any) -> None:
    from llama_index.core.extractors import SummaryExtractor
    from llama_index.core.ingestion import IngestionPipeline
    from llama_index.core.node_parser import SentenceSplitter

    nodes = IngestionPipeline(transformations=[SentenceSplitter(), SummaryExtractor(llm=llm), embedding]).run(
        documents=PAGES
    )
    assert all(node.embedding and node.metadata["section_summary"] for node in nodes)


@component("openinference-instrumentation-llama-index", "LlamaIndexInstrumentor")
def test_traces(llm: Any) -> None:
    from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    LlamaIndexInstrumentor().instrument(tracer_provider=provider)
    try:
        llm.chat([ChatMessage("Hi")])
    finally:
        LlamaIndexInstrumentor().uninstrument()
    told = [dict(span.attributes or {}) for span in exporter.get_finished_spans()]
    assert any(llm.metadata.model_name in map(str, attributes.values()) for attributes in told)
    assert KEY not in str(told)


@component("ragas", "LlamaIndexLLMWrapper")
async def test_ragas(llm: Any) -> None:
    from langchain_core.prompt_values import StringPromptValue
    from ragas.llms import LlamaIndexLLMWrapper

    found = await LlamaIndexLLMWrapper(llm).agenerate_text(StringPromptValue(text="Hi"))
    assert found.generations[0][0].text
