"""Points 7 to 9: token counts, events and spans."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.prompts import PromptTemplate
from llama_index_instrumentation import get_dispatcher

from linkspan.conversation import Usage
from linkspan_sandbox import HTTPError, Reply
from linkspan_sandbox.conformance.llama_index.base import WAYS, LLMSuite, Script, ask, each, last, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["EventTests", "watched"]

#: Six words; with an end token, seven tokens for APIs that count for themselves.
TEXT = "one two three four five six"
COUNTED = Usage(input_tokens=11, output_tokens=7, total_tokens=18)


def _refuse_to_guess(_: str) -> list[str]:
    raise AssertionError("tokens were estimated instead of read from the server")


class _Events(BaseEventHandler):
    seen: list[str] = []  # noqa: RUF012  # a pydantic field

    @classmethod
    def class_name(cls) -> str:
        return "ConformanceEvents"

    def handle(self, event: Any, **_: Any) -> None:
        self.seen.append(event.class_name())


@contextlib.contextmanager
def watched() -> Iterator[tuple[list[str], list[str]]]:
    """Collect the names of LlamaIndex's events and the ids of its spans inside the block."""
    events, spans = _Events(seen=[]), SimpleSpanHandler()
    root = get_dispatcher()
    root.add_event_handler(events)
    root.add_span_handler(spans)
    names: list[str] = []
    try:
        yield events.seen, names
    finally:
        root.event_handlers.remove(events)
        root.span_handlers.remove(spans)
        names += [str(span.id_) for span in spans.completed_spans]


class EventTests(LLMSuite):
    """What the class reports to LlamaIndex's callbacks."""

    @each(WAYS, streams_need="streams_usage")
    def test_usage_is_where_core_looks(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 7: the last chunk has the server's counts, in ``raw["usage"]`` and in ``additional_kwargs``."""
        script.reply(Reply(TEXT, usage=COUNTED))
        response = last(make(), way)
        usage = plain(response.raw)["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (11, 7)
        facts = response.additional_kwargs
        assert (facts["prompt_tokens"], facts["completion_tokens"], facts["total_tokens"]) == (11, 7, 18)

    @each(WAYS, streams_need="streams_usage")
    def test_token_counts_are_the_servers(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 8: ``TokenCountingHandler`` uses the server's counts, once, and estimates none."""
        script.reply(Reply(TEXT, usage=COUNTED))
        counter = TokenCountingHandler(tokenizer=_refuse_to_guess)
        ask(make(callback_manager=CallbackManager([counter])), way)
        assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) == (11, 7)

    @each(("predict", "apredict", "stream", "astream"), streams_need="streams_usage")
    def test_token_counts_of_predict(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 8: also for ``predict`` and similar methods."""
        script.reply(Reply(TEXT, usage=COUNTED))
        counter = TokenCountingHandler(tokenizer=_refuse_to_guess)
        llm = make(callback_manager=CallbackManager([counter]))
        assert _predicted(llm, way) == TEXT
        assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) == (11, 7)

    @each(WAYS)
    def test_one_start_one_end_one_span(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 9: one start event, one end event and one span per call, in both of core's mechanisms."""
        script.reply(Reply(TEXT, usage=COUNTED))
        debug = LlamaDebugHandler(print_trace_on_end=False)
        llm = make(callback_manager=CallbackManager([debug]))
        with watched() as (events, spans):
            ask(llm, way)
        kind = "Chat" if way.endswith("chat") else "Completion"
        of_llms = Counter(name for name in events if name.startswith("LLM") and "InProgress" not in name)
        assert of_llms == {f"LLM{kind}StartEvent": 1, f"LLM{kind}EndEvent": 1}
        assert len([span for span in spans if span.startswith(f"{type(llm).__name__}.{way}")]) == 1
        assert len([span for span in spans if span.startswith(f"{type(llm).__name__}.")]) == 1
        assert len(debug.get_event_pairs(CBEventType.LLM)) == 1

    @each(WAYS)
    def test_a_failed_call_is_told_once(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 9: a failed call ends its event with the exception."""
        script.reply(Reply(fault=HTTPError(400)))
        debug = LlamaDebugHandler(print_trace_on_end=False)
        llm = make(callback_manager=CallbackManager([debug]))
        with pytest.raises(Exception):  # noqa: B017, PT011  # each package has its own
            ask(llm, way)
        pairs = debug.get_event_pairs(CBEventType.LLM)
        assert len(pairs) == 1
        assert script.requests == 1


def _predicted(llm: Any, way: str) -> str:
    prompt = PromptTemplate("Say {what}")
    if way == "predict":
        return str(llm.predict(prompt, what="it"))
    if way == "stream":
        return "".join(llm.stream(prompt, what="it"))

    async def in_a_loop() -> str:
        if way == "apredict":
            return str(await llm.apredict(prompt, what="it"))
        return "".join([piece async for piece in await llm.astream(prompt, what="it")])

    return asyncio.run(in_a_loop())
