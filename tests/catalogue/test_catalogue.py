"""The catalogue's data and how it is read."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest

from linkspan import langchain, llama_index
from linkspan.providers.catalog import known_models, model_info, read_catalogue
from tests.catalogue.conftest import KEY
from tests.support.warm import LANGCHAIN, LLAMA_INDEX, run_warm

SCALEWAY = known_models("scaleway")
CURRENT_CHAT = [info for info in SCALEWAY.values() if info.kind == "chat" and info.status in {"active", "preview"}]


def test_every_current_chat_model_has_its_limits_and_prices() -> None:
    assert len(CURRENT_CHAT) == 11
    for info in CURRENT_CHAT:
        assert info.context_window, info.id
        assert info.max_output_tokens, info.id
        assert info.max_output_tokens < info.context_window, info.id
        assert info.price is not None, info.id
        assert info.price.output, info.id
        assert info.price.currency == "EUR", info.id
        assert info.price.as_of >= date(2026, 9, 29), info.id
        assert (info.tools, info.structured_output, info.offer) == (True, True, "serverless"), info.id
        assert info.as_of, info.id
        assert bool(info.reasoning_efforts) == info.reasoning, info.id


@pytest.mark.parametrize(
    ("model", "facts"),
    [
        ("qwen3.8-27b", {"reasoning_efforts": ("none", "low", "medium", "xhigh"), "vision": True}),
        ("mistral-medium-3.5-128b", {"status": "preview", "reasoning_efforts": ("none", "high")}),
        ("deepseek-v4-flash-0731", {"default_reasoning_effort": "high", "vision": False, "context_window": 262144}),
        ("qwen3.5-397b-a17b", {"video": True, "max_output_tokens": 16384}),
        ("qwen3-embedding-8b", {"kind": "embedding", "dimensions": (32, 4096)}),
        ("whisper-large-v3", {"kind": "transcription"}),
        ("voxtral-small-24b-2507", {"status": "retired", "end_of_life": date(2026, 8, 1)}),
    ],
)
def test_what_the_reference_says(model: str, facts: dict[str, Any]) -> None:
    info = model_info("scaleway", model)
    assert {name: getattr(info, name) for name in facts} == facts


def test_cached_tokens_have_their_own_price_where_the_provider_says_so() -> None:
    prices = {info.id: info.price.cached_input for info in CURRENT_CHAT if info.price}
    assert {name: price for name, price in prices.items() if price} == {
        "qwen3.8-27b": Decimal("0.12"),
        "deepseek-v4-flash-0731": Decimal("0.08"),
    }


def test_which_routes_serve_a_model_and_its_tools() -> None:
    tools_only_over_responses = [info.id for info in CURRENT_CHAT if info.tool_apis == ("responses",)]
    assert tools_only_over_responses == ["gpt-oss-120b"]
    oss, glm, small = (SCALEWAY[name] for name in ("gpt-oss-120b", "glm-5.2", "mistral-small-3.2-24b-instruct-2506"))
    assert [info.serves("chat/completions") for info in (oss, glm, small)] == [True, True, True]
    # What no source says is unknown, and refuses nothing.
    assert [info.serves("responses") for info in (oss, glm, small)] == [True, False, None]
    assert [info.calls_tools_over("chat/completions") for info in (oss, glm, small)] == [False, True, True]
    assert [info.calls_tools_over("responses") for info in (oss, glm, small)] == [True, False, True]
    assert SCALEWAY["qwen3-embedding-8b"].supported_apis == ("embeddings", "rerank")


def test_successors_are_known_and_routed_to() -> None:
    for info in SCALEWAY.values():
        if info.successor is not None:
            assert info.successor in SCALEWAY, info.id
            assert info.routed is True, info.id


def test_the_file_is_dated_and_in_stable_order() -> None:
    catalogue = json.loads((files("linkspan.providers") / "catalog_scaleway.json").read_text("utf-8"))
    assert date.fromisoformat(catalogue["as_of"]) >= date(2026, 9, 29)
    rows = catalogue["models"]
    assert list(rows) == sorted(rows, key=lambda name: (rows[name]["status"] == "retired", name))


def test_the_frameworks_are_fed_from_it() -> None:
    profile = langchain.ChatScaleway(model="deepseek-v4-flash-0731", api_key=KEY).profile
    assert profile is not None
    assert profile["max_output_tokens"] == 32768
    assert profile["reasoning_effort_levels"] == ["none", "low", "high", "max"]
    assert profile["reasoning_effort_default"] == "high"
    assert llama_index.Scaleway(model="deepseek-v4-flash-0731", api_key=KEY).metadata.context_window == 262144
    # Tools that the model calls over another route only are no tools of an object that does not take that route.
    for api, tools in ((None, True), ("responses", True), ("chat", False)):
        oss = langchain.ChatScaleway(model="gpt-oss-120b", api=api, api_key=KEY)
        assert (oss.profile or {})["tool_calling"] is tools
        llm = llama_index.Scaleway(model="gpt-oss-120b", api=api, api_key=KEY)
        assert llm.metadata.is_function_calling_model is tools
    # Nothing is asserted of what is not known.
    assert "reasoning_effort_levels" not in (
        langchain.ChatScaleway(model="llama-3.3-70b-instruct", api_key=KEY).profile or {}
    )


def test_what_is_known_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        SCALEWAY["mine"] = CURRENT_CHAT[0]  # type: ignore[index]
    with pytest.raises(AttributeError):
        CURRENT_CHAT[0].vision = True  # type: ignore[misc]


@pytest.mark.parametrize(
    "row",
    [
        {"windows": 1},
        {"status": "asleep"},
        {"kind": "oracle"},
        {"end_of_life": "soon"},
        {"dimensions": [1, 2, 3]},
        {"price": {"input": 1.0}},
    ],
)
def test_a_wrong_row_is_named(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'bad-model'"):
        read_catalogue(json.dumps({"as_of": "2026-01-01", "models": {"bad-model": row}}))


@pytest.mark.parametrize(
    "made",
    [
        "langchain.ChatScaleway(model='m', api_key='k')",
        "langchain.ScalewayEmbeddings(model='m', api_key='k')",
        "langchain.ChatGraySwan(model='cygnet', api_key='k')",
        "langchain.ChatDataCrunch(model='m', base_url='http://127.0.0.1:1')",
        "llama_index.Scaleway(model='m', api_key='k')",
        "llama_index.ScalewayRerank(model='m', api_key='k')",
    ],
)
def test_the_first_object_made_in_an_event_loop_reads_no_file(made: str) -> None:
    framework, _, call = made.partition(".")
    cls = call.partition("(")[0]
    program = (
        "import asyncio, sys\n"
        f"from linkspan.{framework} import {cls}\n"
        "opened = []\n"
        "async def main():\n"
        "    sys.addaudithook(lambda event, args: opened.append(args[0]) if event == 'open' else None)\n"
        f"    {call}\n"
        "    assert not opened, opened\n"
        "asyncio.run(main())\n"
    )
    run_warm(LANGCHAIN if framework == "langchain" else LLAMA_INDEX, program)
