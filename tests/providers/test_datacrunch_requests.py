"""What goes to a TGI server: only what was set, nothing that every server refuses, schemas in plain form."""

from __future__ import annotations

from typing import Any

import pytest

from linkspan.conversation import PromptRequest, ResponseFormat
from linkspan.errors import ConfigurationError, InvalidRequestError, UnsupportedContentError
from linkspan.providers.datacrunch import (
    DATACRUNCH,
    DEFAULT_MAX_NEW_TOKENS,
    TGICodec,
    check_model,
    datacrunch_base_url,
    grammar_of,
    json_grammar,
    plain_schema,
    regex_grammar,
)
from tests.providers.tgi import ask

LEGACY = "https://inference.datacrunch.io/v1/completions"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def sent(request: PromptRequest, *, stream: bool = False) -> dict[str, Any]:
    parameters: dict[str, Any] = TGICodec().encode(request, stream=stream)["parameters"]
    return parameters


def test_the_body_holds_what_was_set_and_nothing_else() -> None:
    codec = TGICodec()
    request = PromptRequest("mixtral", "Hi", {"temperature": 0.5, "seed": None}, stop=["\n"])
    assert codec.encode(request, stream=False) == {
        "model": "mixtral",
        "inputs": "Hi",
        "parameters": {"max_new_tokens": DEFAULT_MAX_NEW_TOKENS, "details": True, "temperature": 0.5, "stop": ["\n"]},
    }
    assert "model" not in codec.encode(ask(), stream=True)
    assert [codec.path(ask(), stream=stream) for stream in (False, True)] == ["generate", "generate_stream"]


def test_every_documented_parameter_passes() -> None:
    given = {
        "do_sample": True,
        "max_new_tokens": 20,
        "repetition_penalty": 1.1,
        "return_full_text": False,
        "stop": ["a", "b"],
        "seed": 2**64 - 1,
        "temperature": 0.7,
        "top_k": 10,
        "top_p": 0.9,
        "truncate": 100,
        "typical_p": 0.95,
        "watermark": True,
        "details": False,
        "decoder_input_details": True,
        "frequency_penalty": -2,
        "top_n_tokens": 5,
        "grammar": regex_grammar("[a-z]+"),
        "adapter_id": "lora",
    }
    assert sent(ask(**given)) == given
    assert sent(ask(best_of=2, do_sample=True))["best_of"] == 2


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"temperature": 0}, {}),
        ({"temperature": 0.0, "top_p": 0.9, "top_k": 5, "typical_p": 0.5}, {}),
        ({"temperature": 1e-60}, {}),
        ({"top_p": 1}, {}),
        ({"top_p": 0.99999999, "typical_p": 1.0}, {}),
        ({"top_p": 0.999}, {"top_p": 0.999}),
        ({"temperature": 1}, {"temperature": 1}),
        ({"max_tokens": 9}, {"max_new_tokens": 9}),
        ({"max_tokens": 9, "max_new_tokens": 9}, {"max_new_tokens": 9}),
    ],
)
def test_values_that_mean_none_are_left_out(given: dict[str, Any], left: dict[str, Any]) -> None:
    assert sent(ask(**given)) == {"max_new_tokens": DEFAULT_MAX_NEW_TOKENS, "details": True, **left}


@pytest.mark.parametrize(
    ("given", "stream", "words"),
    [
        ({"temperature": -1}, False, "temperature=-1 is below 0"),
        ({"temperature": float("nan")}, False, "temperature=nan is not a number"),
        ({"temperature": 0, "do_sample": True}, False, "do_sample=True turns sampling on"),
        ({"top_p": 0}, False, "top_p=0 is not above 0"),
        ({"top_p": 1.1}, False, "top_p=1.1 is not above 0 and at most 1"),
        ({"typical_p": -0.5}, False, "typical_p=-0.5"),
        ({"top_k": 0}, False, "top_k=0 is below 1. Leave it out for no limit"),
        ({"top_k": -1}, False, "top_k=-1"),
        ({"top_k": 1.5}, False, "top_k=1.5 is not a whole number"),
        ({"top_k": True}, False, "top_k=True is not a whole number"),
        ({"seed": -1}, False, "seed=-1 is below 0. Leave it out for a random one"),
        ({"seed": 2**64}, False, "is above"),
        ({"repetition_penalty": 0}, False, "repetition_penalty=0 is not above 0"),
        ({"frequency_penalty": 2.5}, False, "frequency_penalty=2.5 is not between -2 and 2"),
        ({"max_new_tokens": 0}, False, "max_new_tokens=0 is below 1"),
        ({"max_tokens": 5, "max_new_tokens": 6}, False, "two names for one limit"),
        ({"truncate": 0}, False, "truncate=0"),
        ({"watermark": 1}, False, "watermark=1 is not True or False"),
        ({"stop": list("abcde")}, False, "has 5 texts, and TGI takes 4"),
        ({"stop": [""]}, False, "not empty"),
        ({"best_of": 2, "do_sample": True}, True, "best_of=2 does not work in a stream"),
        ({"best_of": 0}, True, "best_of=0 does not work in a stream"),
        ({"best_of": 2, "do_sample": True, "seed": 1}, False, "does not work with a seed"),
        ({"best_of": 2}, False, "best_of=2 needs sampling"),
        ({"best_of": 2, "temperature": 0}, False, "best_of=2 needs sampling"),
        ({"decoder_input_details": True}, True, "decoder_input_details=True does not work in a stream"),
        ({"adapter_id": ""}, False, "adapter_id=''"),
        ({"grammar": {"type": "ebnf", "value": "x"}}, False, "json_grammar(schema)"),
        ({"grammar": {"type": "json", "value": "{"}}, False, "not JSON"),
        ({"grammar": {"type": "regex", "value": 1}}, False, "must be text"),
    ],
)
def test_what_every_server_refuses_is_refused_before_it_is_sent(
    given: dict[str, Any], stream: bool, words: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        TGICodec().encode(ask(**given), stream=stream)
    assert words in str(caught.value)
    assert caught.value.provider == "datacrunch"
    assert caught.value.status_code is None


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="the prompt is empty"):
        TGICodec().encode(ask(""), stream=False)


@pytest.mark.parametrize("name", ["presence_penalty", "n", "min_p"])
def test_a_parameter_of_vllm_is_refused_with_the_api_that_takes_it(name: str) -> None:
    with pytest.raises(UnsupportedContentError, match=f"'{name}' does not work on TGI.*choose api=\"openai\""):
        TGICodec().encode(ask(**{name: 2}), stream=False)


@pytest.mark.parametrize("name", ["stop_sequences", "temprature"])
def test_a_parameter_that_tgi_would_ignore_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedContentError, match=f"no parameter '{name}'"):
        TGICodec().encode(ask(**{name: 2}), stream=False)


def test_what_a_server_adds_goes_into_extra_body() -> None:
    request = PromptRequest(
        None, "Hi", {"top_k": 3}, extra_body={"parameters": {"stop": list("abcde"), "top_k": 0}, "lora": "x"}
    )
    body = TGICodec().encode(request, stream=False)
    assert body["lora"] == "x"
    assert body["parameters"]["stop"] == list("abcde")
    assert body["parameters"]["top_k"] == 0


# --------------------------------------------------------------------------- schemas


def test_references_are_resolved() -> None:
    schema = {
        "$ref": "#/$defs/Trip",
        "$defs": {
            "City": {"type": "object", "properties": {"name": {"type": "string"}}},
            "Trip": {
                "type": "object",
                "properties": {
                    "$ref": {"type": "string"},
                    "stops": {"type": "array", "items": {"$ref": "#/$defs/City"}},
                    "home": {"$ref": "#/$defs/City", "description": "where it starts"},
                    "kind": {"const": {"$ref": "data"}},
                },
            },
        },
    }
    city = {"type": "object", "properties": {"name": {"type": "string"}}}
    assert plain_schema(schema) == {
        "type": "object",
        "properties": {
            "$ref": {"type": "string"},
            "stops": {"type": "array", "items": city},
            "home": {**city, "description": "where it starts"},
            "kind": {"const": {"$ref": "data"}},
        },
    }
    assert "$defs" in schema


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ([], "list, not an object"),
        ({"type": "array", "items": SCHEMA}, "it describes 'array'. Wrap it in an object"),
        ({"anyOf": [SCHEMA, SCHEMA]}, "it describes 'anyOf'"),
        ({}, "it has none"),
        ({"properties": {"a": {"$ref": "https://example.org/a.json"}}}, "leads out of it"),
        ({"properties": {"a": {"$ref": "#/$defs/missing"}}}, "leads nowhere"),
        ({"properties": {"child": {"$ref": "#"}}}, "refers to itself"),
    ],
)
def test_a_schema_that_tgi_cannot_take_is_refused_with_the_reason(schema: Any, words: str) -> None:
    with pytest.raises(UnsupportedContentError) as caught:
        json_grammar(schema)
    assert words in str(caught.value)


def test_a_response_format_becomes_a_grammar() -> None:
    assert grammar_of(ResponseFormat("json_schema", SCHEMA, "City")) == {"type": "json", "value": SCHEMA}
    assert grammar_of(ResponseFormat("json_object", SCHEMA)) == {"type": "json", "value": SCHEMA}
    assert grammar_of(ResponseFormat("text")) is None
    with pytest.raises(UnsupportedContentError, match="JSON object without a schema"):
        grammar_of(ResponseFormat("json_object"))


def test_grammars_are_sent_with_their_schema_in_plain_form() -> None:
    schema = {"$ref": "#/$defs/A", "$defs": {"A": SCHEMA}}
    assert sent(ask(grammar={"type": "json_object", "value": schema}))["grammar"]["value"] == SCHEMA
    named = sent(ask(grammar={"type": "json_schema", "value": {"name": "A", "schema": schema}}))["grammar"]
    assert named == {"type": "json_schema", "value": {"name": "A", "schema": SCHEMA}}


# --------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("given", "api", "base"),
    [
        (None, "generate", LEGACY),
        (f"{LEGACY}/generate", "generate", LEGACY),
        (f"{LEGACY}/generate_stream/", "generate", LEGACY),
        ("https://containers.datacrunch.io/mine/generate", "generate", "https://containers.datacrunch.io/mine"),
        ("http://localhost:8080/", "generate", "http://localhost:8080"),
        ("http://localhost:8080/v1", "messages", "http://localhost:8080"),
        ("http://localhost:8080/v1/chat/completions", "messages", "http://localhost:8080"),
    ],
)
def test_the_base_url_is_what_stands_before_the_route(given: str | None, api: Any, base: str) -> None:
    assert datacrunch_base_url(given, api=api) == base


def test_environment_variables_are_read_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERDA_BASE_URL", "https://containers.datacrunch.io/two")
    assert datacrunch_base_url(None) == "https://containers.datacrunch.io/two"
    monkeypatch.setenv("DATACRUNCH_BASE_URL", "https://containers.datacrunch.io/one")
    assert datacrunch_base_url(None) == "https://containers.datacrunch.io/one"
    monkeypatch.setenv("VERDA_INFERENCE_KEY", "dc_two")
    key = DATACRUNCH.resolve_api_key(None)
    assert key is not None
    assert key.get_secret_value() == "dc_two"


def test_the_legacy_address_has_no_chat_route_and_needs_a_model() -> None:
    with pytest.raises(ConfigurationError, match="has no chat route"):
        datacrunch_base_url(None, api="messages")
    with pytest.raises(ConfigurationError, match="set model"):
        check_model(None, LEGACY)
    check_model(None, "http://localhost:8080")
    check_model("mixtral", LEGACY)
