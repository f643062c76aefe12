"""An error's body costs next to nothing, however large, deep or odd it is."""

from __future__ import annotations

import httpx
import pytest

from linkspan.errors import LinkspanError
from linkspan.providers.error_bodies import read_error_body
from tests.faults.wire import LANGCHAIN, LLAMA_INDEX, Api, Wire

BODIES = {
    "titles": b"<html>" + b"<title>" * 40_000,
    "title": b"<html><title>" + b" " * 300_000,
    "text": b"x" * 300_000,
    "backslashes": b"\\" * 300_000,
    "percent": b"%25" * 100_000,
    "deep": b'{"error":' * 100_000,
    "details": b'{"detail": [' + b'{"loc": ["a", "role"], "msg": "m", "type": "literal_error"},' * 5_000 + b"1]}",
    "code": b'{"error": {"message": "no", "code": "' + b"c" * 300_000 + b'"}}',
    "literal": b'{"message": "{\'a\': ' + b"[" * 900 + b'"}',
    "set": b'{"status_code": 400, "content": {"error": "{\'a\', []}"}}',
    "steps": b'{"detail": [{"loc": 5, "msg": [1]}]}',
    "bytes": bytes(range(256)),
    "nul": b"\0" * 100_000,
}


@pytest.mark.parametrize(("number", "api"), list(enumerate(LANGCHAIN)), ids=[api.name for api in LANGCHAIN])
def test_a_large_or_odd_body_becomes_a_short_error(number: int, api: Api) -> None:
    wire = Wire()
    model = api.make(**wire.clients())
    # Both ways lead to the same reader of bodies: each body takes one through an API, and the other through the next.
    for place, (name, body) in enumerate(BODIES.items(), start=number):
        wire.respond = lambda body=body: httpx.Response(400, content=body)  # type: ignore[misc]
        with pytest.raises(LinkspanError) as caught:
            list(model.stream("x")) if place % 2 else model.invoke("x")
        assert len(str(caught.value)) < 2500, name
        assert len(caught.value.code or "") <= 200, name


@pytest.mark.parametrize("api", [*LANGCHAIN, *LLAMA_INDEX], ids=lambda api: api.name)
def test_fields_that_repeat_the_request_are_dropped(api: Api) -> None:
    wire = Wire()
    model = api.make(**wire.clients())
    for name in ("input", "inputs", "prompt", "messages", "query", "documents"):
        for body in ({"error": {"message": "no", name: ["psst"]}}, {"message": "no", name: {"content": "psst"}}):
            wire.respond = lambda body=body: httpx.Response(400, json=body)  # type: ignore[misc]
            with pytest.raises(LinkspanError, match="no") as caught:
                model.invoke("psst") if hasattr(model, "invoke") else model.complete("psst")
            assert "psst" not in f"{caught.value} {vars(caught.value)}", name


def test_a_pages_title_is_told() -> None:
    page = b"<!doctype html><html><head><TITLE class='x'>502 Bad\n Gateway</TITLE></head>" + b" " * 1_000_000
    assert read_error_body(page).message == "the server answered with an HTML page: 502 Bad Gateway; check base_url"


@pytest.mark.parametrize("api", LANGCHAIN, ids=lambda api: api.name)
def test_no_message_is_empty(api: Api) -> None:
    wire = Wire()
    model = api.make(**wire.clients())
    for body in (b'{"error": ""}', b'{"error": {"message": ""}}', b'{"detail": ""}', b'""', b"{}"):
        wire.respond = lambda body=body: httpx.Response(400, content=body)  # type: ignore[misc]
        with pytest.raises(LinkspanError) as caught:
            model.invoke("x")
        assert caught.value.message.partition(": ")[2].strip(" ."), body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": "Bad Request", "detail": "no such voice"}', "no such voice (Bad Request)"),
        (b'{"error": {"message": "", "detail": "no such voice"}}', "no such voice"),
    ],
)
def test_a_detail_is_told_beside_a_heading(body: bytes, said: str) -> None:
    assert read_error_body(body).message == said
