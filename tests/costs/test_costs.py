"""``cost_of``: what answers of both frameworks cost, by the counts that servers send, at the catalogue's prices."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import ChatMessage

from linkspan import langchain, llama_index
from linkspan.costs import Cost, UnknownPriceError, cost_of
from linkspan.errors import ConfigurationError
from linkspan.providers.catalog import Price, known_models
from tests.support.examples import run_example
from tests.support.loopback import LoopbackServer, event_stream, http

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "qwen3.8-27b"
#: Of qwen3.8-27b: 0.60 for a million tokens of input, 0.12 for cached ones, 3.30 for output.
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "total_tokens": 1100,
    "prompt_tokens_details": {"cached_tokens": 400},
}
TOTAL = Decimal("0.000738")
DAY = date(2026, 9, 29)


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as running:
        yield running


def chat(**usage: Any) -> bytes:
    message = {"role": "assistant", "content": "Hi"}
    body = {"model": MODEL, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    return http(200, json.dumps(body).encode())


def stream(**usage: Any) -> list[bytes]:
    chunks = [
        {"model": MODEL, "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]},
        {"model": MODEL, "choices": [], "usage": usage},
    ]
    return event_stream(*(json.dumps(chunk).encode() for chunk in chunks), b"[DONE]")


def chat_scaleway(server: LoopbackServer) -> langchain.ChatScaleway:
    return langchain.ChatScaleway(model=MODEL, api_key="k", base_url=f"{server.url}/v1", max_retries=0)


def scaleway(server: LoopbackServer, **fields: Any) -> llama_index.Scaleway:
    return llama_index.Scaleway(model=MODEL, api_key="k", base_url=f"{server.url}/v1", max_retries=0, **fields)


def amounts(cost: Cost) -> dict[str, Decimal]:
    return {item.kind: item.amount for item in cost.items}


# ------------------------------------------------------------------ LangChain


def test_a_message_says_all_that_is_needed(server: LoopbackServer) -> None:
    server.answer(chat(**USAGE))
    cost = cost_of(chat_scaleway(server).invoke("Hello"))
    assert (cost.total, cost.currency, cost.as_of) == (TOTAL, "EUR", DAY)
    assert amounts(cost) == {
        "input": Decimal("0.00036"),
        "cached_input": Decimal("0.000048"),
        "output": Decimal("0.00033"),
    }
    assert str(cost) == "0.000738 EUR (prices of 2026-09-29)"


def test_streams_and_the_callback_cost_the_same(server: LoopbackServer) -> None:
    model = chat_scaleway(server)
    with get_usage_metadata_callback() as callback:
        server.answer(*stream(**USAGE))
        whole: Any = None
        for chunk in model.stream("Hello"):
            whole = chunk if whole is None else whole + chunk
        server.answer(chat(**USAGE))
        model.invoke("Hello")
    assert cost_of(whole).total == TOTAL
    assert cost_of(whole.usage_metadata, model=MODEL, provider="scaleway").total == TOTAL
    assert cost_of(callback.usage_metadata, provider="scaleway").total == 2 * TOTAL
    # A name alone does not say who served it, and so not at which price.
    with pytest.raises(ConfigurationError, match=r"pass provider="):
        cost_of(callback.usage_metadata)


def test_the_messages_of_an_agent_are_added_up() -> None:
    def answered(model: str) -> AIMessage:
        usage: Any = {"input_tokens": 1_000_000, "output_tokens": 0, "total_tokens": 1_000_000}
        return AIMessage(
            "", usage_metadata=usage, response_metadata={"model_provider": "scaleway", "model_name": model}
        )

    messages = [HumanMessage("Hello"), answered("gpt-oss-120b"), answered("llama-3.3-70b-instruct")]
    cost = cost_of(messages)
    assert cost.total == Decimal("1.05")
    assert cost.total == sum(cost_of(message) for message in messages[1:]).total  # type: ignore[union-attr]
    assert [item.model for item in cost.items] == ["gpt-oss-120b", "llama-3.3-70b-instruct"]
    assert cost_of({"messages": messages, "structured_response": object()}) == cost
    # Of one answer without counts, the sum would be too low; of none, there is no sum.
    silent = AIMessage("Hi", response_metadata={"model_provider": "scaleway", "model_name": MODEL})
    with pytest.raises(ConfigurationError, match="would be too low"):
        cost_of({"messages": [*messages, silent]})
    with pytest.raises(ConfigurationError, match="no token counts"):
        cost_of({"messages": [HumanMessage("Hello")]})


def test_an_answer_from_langchains_cache_costs_nothing(server: LoopbackServer) -> None:
    server.answer(chat(**USAGE))
    model = chat_scaleway(server).model_copy(update={"cache": InMemoryCache()})
    answers = [model.invoke("Hello") for _ in range(2)]
    assert [cost_of(answer).total for answer in answers] == [TOTAL, 0]
    assert cost_of(answers).total == TOTAL


# ------------------------------------------------------------------ LlamaIndex


def test_responses_streams_and_counters_cost_the_same(server: LoopbackServer) -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    model = scaleway(server, callback_manager=CallbackManager([counter]))
    message = [ChatMessage(content="Hello")]
    server.answer(chat(**USAGE))
    assert cost_of(model.chat(message), provider="scaleway").total == TOTAL
    server.answer(chat(**USAGE))
    assert cost_of(model.complete("Hello"), provider="scaleway").total == TOTAL
    server.answer(*stream(**USAGE))
    assert cost_of(list(model.stream_chat(message))[-1], provider="scaleway").total == TOTAL
    # The counter knows nothing of caches: all input at its full price.
    counted = cost_of(counter, model=MODEL, provider="scaleway")
    assert counted.total == 3 * Decimal("0.00093")


def test_a_counters_embedding_tokens_are_another_models() -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    counter.total_embedding_token_count  # noqa: B018  # a property, made of the events below
    counter.embedding_token_counts.append(type("Event", (), {"total_token_count": 2_000_000})())  # type: ignore[arg-type]
    assert cost_of(counter, embedding_model="qwen3-embedding-8b", provider="scaleway").total == Decimal("0.2")
    with pytest.raises(ConfigurationError, match="model="):
        cost_of(counter, model=MODEL, provider="scaleway")


# ------------------------------------------------------------------ embeddings, rerank, sound


@pytest.mark.parametrize("cls", [langchain.ScalewayEmbeddings, llama_index.ScalewayEmbedding])
def test_embeddings(server: LoopbackServer, cls: Any) -> None:
    body = {"model": "qwen3-embedding-8b", "data": [{"index": 0, "embedding": [0.1]}]}
    server.answer(http(200, json.dumps({**body, "usage": {"prompt_tokens": 50, "total_tokens": 50}}).encode()))
    model = cls(model="qwen3-embedding-8b", api_key="k", base_url=f"{server.url}/v1", max_retries=0)
    assert cost_of(model.embed(["A text"])).total == Decimal("0.000005")
    model.close()


def test_usage_objects_of_servers() -> None:
    # Rerank counts all as one.
    rerank = {"total_tokens": 1000}
    assert cost_of(rerank, model="qwen3-embedding-8b", provider="scaleway").total == Decimal("0.0001")
    assert cost_of(USAGE, model=MODEL, provider="scaleway").total == TOTAL
    own = {"whisper-large-v3": Price(audio_minute=Decimal("0.003"), as_of=DAY)}
    sound = cost_of({"type": "duration", "seconds": 90}, model="whisper-large-v3", prices=own)
    assert amounts(sound) == {"audio": Decimal("0.0045")}


# ------------------------------------------------------------------ what is unknown


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("a-model-of-tomorrow", "the catalogue does not know it"),
        ("meta/llama-3.3-70b-instruct:fp8", "paid by the hour"),
        ("llama-3.1-8b-instruct", r"unknown \(as of 2026-"),
        ("whisper-large-v3", "is unknown"),
    ],
)
def test_an_unknown_price_is_an_error_and_never_a_guess(model: str, said: str) -> None:
    with pytest.raises(UnknownPriceError, match=said) as caught:
        cost_of(USAGE, model=model, provider="scaleway")
    assert isinstance(caught.value, LookupError)
    assert f"prices={{{model!r}" in str(caught.value)
    # Nor is the sum of the rest returned.
    with pytest.raises(UnknownPriceError):
        cost_of({MODEL: USAGE, model: USAGE}, provider="scaleway")
    own = {model: Price(input=Decimal(1), output=Decimal(2), as_of=date(2026, 11, 1))}
    assert cost_of({MODEL: USAGE, model: USAGE}, provider="scaleway", prices=own).total == TOTAL + Decimal("0.0012")


def test_a_kind_without_a_price_is_named() -> None:
    with pytest.raises(UnknownPriceError, match="price of output of the model 'qwen3-embedding-8b'"):
        cost_of(USAGE, model="qwen3-embedding-8b", provider="scaleway")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        AIMessage("no counts"),
        "a text",
        {"messages": []},
        {"completion_tokens": 3},
        {"input_tokens": 3, "total_tokens": 9},
        {"input_tokens": 3, "output_tokens": 0, "input_token_details": {"cache_read": 4}},
    ],
)
def test_without_whole_counts_there_is_no_cost(answer: Any) -> None:
    with pytest.raises(ConfigurationError):
        cost_of(answer, model=MODEL, provider="scaleway")


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
def test_an_answer_without_counts_makes_no_half_sum(server: LoopbackServer, framework: str) -> None:
    counted, silent = chat(**USAGE), chat()
    for answer in (counted, silent):
        server.answer(answer)
    if framework == "langchain":
        model = chat_scaleway(server)
        answers: list[Any] = [model.invoke("Hello"), model.invoke("Hello")]
    else:
        llm = scaleway(server)
        answers = [llm.chat([ChatMessage("Hello")]), llm.chat([ChatMessage("Hello")])]
    assert cost_of(answers[:1], provider="scaleway").total == TOTAL
    with pytest.raises(ConfigurationError, match="would be too low"):
        cost_of(answers, provider="scaleway")


def test_what_no_model_said_costs_nothing() -> None:
    assert cost_of([AIMessage("An example of the prompt."), USAGE], model=MODEL, provider="scaleway").total == TOTAL


def test_no_tokens_cost_nothing() -> None:
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    cost = cost_of(nothing, model=MODEL, provider="scaleway")
    assert (cost.total, cost.currency) == (Decimal(0), "EUR")
    assert cost_of([nothing, USAGE], model=MODEL, provider="scaleway").total == TOTAL
    with pytest.raises(UnknownPriceError):
        cost_of(nothing, model="a-model-of-tomorrow", provider="scaleway")


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -5, "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": -5},
        {"prompt_tokens": "5", "completion_tokens": 5},
        {"prompt_tokens": 5.5, "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": 5, "cached_tokens": -1},
        {"seconds": float("nan")},
        {"seconds": -1},
        {"seconds": "90"},
    ],
)
def test_counts_that_cannot_be_are_refused(usage: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"count of .* must be a"):
        cost_of(usage, model=MODEL, provider="scaleway")


def test_prices_must_be_prices() -> None:
    with pytest.raises(ConfigurationError, match=r"prices\['mine'\] must be a linkspan.costs.Price"):
        cost_of(USAGE, model="mine", prices={"mine": 0.3})  # type: ignore[dict-item]


def test_a_price_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one of input"):
        Price(as_of=DAY)


def test_currencies_are_not_mixed() -> None:
    own = {"mine": Price(input=Decimal(1), output=Decimal(2), as_of=DAY, currency="USD")}
    with pytest.raises(ConfigurationError, match="EUR and USD"):
        cost_of({MODEL: USAGE, "mine": USAGE}, provider="scaleway", prices=own)


# ------------------------------------------------------------------ the example


def test_the_example_says_what_each_call_cost() -> None:
    outcome = run_example("cost")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines() == [
        "One answer: 0.0000321 EUR (prices of 2026-09-29)",
        "  input: 4 tokens at 0.6 EUR a million",
        "  output: 9 tokens at 3.3 EUR a million",
        "A batch: 0.0000675 EUR (prices of 2026-09-29)",
        "Two of LlamaIndex: 0.0000675 EUR (prices of 2026-09-29)",
        "Embeddings: 0.0000005 EUR (prices of 2026-09-29)",
        (
            "Unknown: The price of 'meta/llama-3.3-70b-instruct:fp8' of scaleway is unknown (dedicated deployments are "
            "paid by the hour). Pass your own: prices={'meta/llama-3.3-70b-instruct:fp8': Price(...)}."
        ),
    ]


# ------------------------------------------------------------------ the arithmetic


PRICED = {name: info.price for name, info in known_models("scaleway").items() if info.price and info.price.output}


@settings(max_examples=50)
@given(st.sampled_from(sorted(PRICED)), st.integers(1, 10**7), st.integers(0, 10**6), st.floats(0, 1, allow_nan=False))
def test_sums_are_exact(model: str, given_tokens: int, made: int, share: float) -> None:
    cached = int(given_tokens * share)
    usage = {"input_tokens": given_tokens, "output_tokens": made, "input_token_details": {"cache_read": cached}}
    cost = cost_of(usage, model=model, provider="scaleway")
    price = PRICED[model]
    assert price.input is not None
    assert price.output is not None
    of_cached = price.input if price.cached_input is None else price.cached_input
    assert cost.total * 1_000_000 == (given_tokens - cached) * price.input + cached * of_cached + made * price.output
    assert sum(item.quantity for item in cost.items) == given_tokens + made
    assert (cost + cost).total == 2 * cost.total
