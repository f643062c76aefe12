"""Traces and logs of Scaleway in LangChain and LlamaIndex: OpenTelemetry spans without prompts and keys.

The spans come from three sources outside linkspan: callbacks (LangChain), instrumentation (LlamaIndex) and the
instrumentation of httpx, whose spans are nested inside. Names follow OpenTelemetry's conventions for generative AI;
prompts and answers are omitted unless ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true``. The log comes from
linkspan's logger ``linkspan``: a warning for each retry, and at DEBUG a line for each request.

``python examples/observability.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a
stand-in on this machine that answers from a script: ``pip install 'linkspan[all]' opentelemetry-sdk
opentelemetry-instrumentation-httpx``.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig
from llama_index.core import SummaryIndex
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # it is its public home
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent
from llama_index.core.instrumentation.span import BaseSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.schema import TextNode
from opentelemetry import context, trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode
from pydantic import PrivateAttr

from linkspan.errors import LinkspanError
from linkspan.langchain import ChatScaleway
from llama_index.llms.scaleway import Scaleway

if TYPE_CHECKING:
    from uuid import UUID

    from opentelemetry.sdk.trace import ReadableSpan

MODEL = "llama-3.3-70b-instruct"
NO_MODEL = "llama-of-tomorrow"
PAGE = "The linkspan of Ostra is 60 metres long."
WITH_CONTENT = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").lower() == "true"


def main() -> None:
    """Trace a streamed chain, a query engine and a failure."""
    tracer = start_tracing()
    start_logging()
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        chat = stack.enter_context(ChatScaleway(model=MODEL, temperature=0, max_tokens=100, **where))
        config: RunnableConfig = {"callbacks": [LangChainSpans(tracer)]}
        chain = ChatPromptTemplate.from_template("Explain in one sentence: {word}") | chat
        with tracer.start_as_current_span("explain"):
            for _ in chain.stream({"word": "linkspan"}, config):
                pass

        llm = stack.enter_context(Scaleway(model=MODEL, temperature=0, max_tokens=100, **where))
        SummaryIndex([TextNode(text=PAGE)]).as_query_engine(llm=llm).query("How long is the linkspan?")

        try:
            stack.enter_context(ChatScaleway(model=NO_MODEL, **where)).invoke("Hello?", config)
        except LinkspanError as error:
            print(f"failed, as expected: {type(error).__name__}")


def start_tracing() -> trace.Tracer:
    """Print spans as they end, and instrument httpx and LlamaIndex."""
    provider = TracerProvider(resource=Resource({"service.name": "ferry-desk"}))
    # In production, use the OTLP exporter and a BatchSpanProcessor.
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=one_line)))
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    tracer = provider.get_tracer("ferry-desk")
    get_dispatcher().add_span_handler(LlamaIndexSpans(tracer))
    get_dispatcher().add_event_handler(LlamaIndexUsage())
    return tracer


def start_logging() -> None:
    """Print what linkspan logs."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("log   %(levelname)s %(name)s: %(message)s"))
    logging.getLogger("linkspan").addHandler(handler)
    logging.getLogger("linkspan").setLevel(logging.DEBUG)


def one_line(span: ReadableSpan) -> str:
    """Return a span as one line; the exporter's format takes thirty."""
    parent = f" in {span.parent.span_id:016x}" if span.parent else ""
    attributes = json.dumps(dict(span.attributes or {}), ensure_ascii=False)
    return f"span  {span.context.span_id:016x}{parent} {span.name} {span.status.status_code.name} {attributes}\n"


class LangChainSpans(BaseCallbackHandler):
    """Opens a span for each call of a chat model.

    It is the current span until the call ends, so that httpx's spans are nested inside. That needs ``run_inline``:
    otherwise async calls run a handler on another thread.
    """

    run_inline = True

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._open: dict[UUID, tuple[trace.Span, Any]] = {}

    def on_chat_model_start(  # type: ignore[override]  # the last argument takes the omitted ones
        self, _: dict[str, Any], messages: list[list[Any]], *, run_id: UUID, metadata: dict[str, Any], **__: Any
    ) -> None:
        """Open the span."""
        model = metadata["ls_model_name"]
        span = self._tracer.start_span(f"chat {model}", kind=trace.SpanKind.CLIENT)
        span.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": metadata["ls_provider"],
                "gen_ai.request.model": model,
            }
        )
        if WITH_CONTENT:
            said = [{"role": message.type, "content": message.text} for message in messages[0]]
            span.set_attribute("gen_ai.input.messages", json.dumps(said))
        self._open[run_id] = span, context.attach(trace.set_span_in_context(span))

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """Record the usage."""
        span, token = self._open.pop(run_id)
        message = response.generations[0][0].message
        span.set_attribute("gen_ai.response.finish_reasons", [message.response_metadata["finish_reason"]])
        span.set_attribute("gen_ai.usage.input_tokens", message.usage_metadata["input_tokens"])
        span.set_attribute("gen_ai.usage.output_tokens", message.usage_metadata["output_tokens"])
        if WITH_CONTENT:
            span.set_attribute("gen_ai.output.messages", json.dumps([{"role": "ai", "content": message.text}]))
        context.detach(token)
        span.end()

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Record the kind of failure."""
        span, token = self._open.pop(run_id)
        fail(span, error)
        context.detach(token)
        span.end()


class OpenSpan(BaseSpan):
    """An open span, as LlamaIndex keeps it."""

    span: Any
    token: Any


class LlamaIndexSpans(BaseSpanHandler[OpenSpan]):
    """Opens a span for each step of LlamaIndex: the engine, the retriever, the synthesizer, the model."""

    _tracer: Any = PrivateAttr()

    def __init__(self, tracer: trace.Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def new_span(  # type: ignore[override]  # as above
        self, id_: str, parent_span_id: str | None = None, **_: Any
    ) -> OpenSpan:
        """Open the span. Core also passes the step's arguments, which contain prompts and are ignored."""
        span = self._tracer.start_span(id_.partition("-")[0])
        token = context.attach(trace.set_span_in_context(span))
        return OpenSpan(id_=id_, parent_id=parent_span_id, span=span, token=token)

    def prepare_to_exit_span(self, id_: str, **_: Any) -> OpenSpan:  # type: ignore[override]  # as above
        """End the span."""
        return self._end(id_, None)

    def prepare_to_drop_span(  # type: ignore[override]  # as above
        self, id_: str, *, err: BaseException | None = None, **_: Any
    ) -> OpenSpan:
        """End the span of a failed step."""
        return self._end(id_, err)

    def _end(self, id_: str, error: BaseException | None) -> OpenSpan:
        opened = self.open_spans[id_]
        if error is not None:
            fail(opened.span, error)
        context.detach(opened.token)
        opened.span.end()
        return opened


class LlamaIndexUsage(BaseEventHandler):
    """Records an answer's usage in the model's span."""

    def handle(self, event: Any, **_: Any) -> None:
        """Handle the end of a chat."""
        if isinstance(event, LLMChatEndEvent) and event.response is not None:
            span = trace.get_current_span()
            usage = event.response.additional_kwargs
            span.set_attribute("gen_ai.usage.input_tokens", usage["prompt_tokens"])
            span.set_attribute("gen_ai.usage.output_tokens", usage["completion_tokens"])
            if WITH_CONTENT:
                said = [{"role": message.role.value, "content": message.content} for message in event.messages]
                span.set_attribute("gen_ai.input.messages", json.dumps(said))
                span.set_attribute("gen_ai.output.messages", json.dumps([event.response.message.content]))


def fail(span: trace.Span, error: BaseException) -> None:
    """Mark a span as failed, with only the kind of its error."""
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", type(error).__name__)


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import HTTPError, Reply, Rule, run  # noqa: PLC0415  # needed only without a key

    rules = [
        Rule(Reply(fault=HTTPError(429, headers={"retry-after": "0"})), times=1),
        Rule("A hinged bridge between a quay and a ship.", when="Explain"),
        Rule("It is 60 metres long.", when="How long"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
