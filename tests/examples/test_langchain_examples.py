"""LangChain's smaller examples: callbacks, vision, extraction; each without a key and with one, at the same time."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

from linkspan_sandbox import Rule, run
from tests.support.examples import start_example

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan_sandbox import RecordedRequest

KEY = "the-key-of-the-user"
BOOKING = '{"crossings": [{"port": "Ostra", "day": "Friday", "vehicle": null}]}'
CUT_SHORT = '{"crossings": [{"port": "Vinnholm", "day": "Mon'


def run_both_ways(name: str, reply: str) -> tuple[list[str], list[str], Sequence[RecordedRequest]]:
    """Return what it prints without a key and with one, and what it then asked the service."""
    with run(api_key=KEY, rules=[Rule(reply)]) as service:
        processes = [
            start_example(name),
            start_example(name, SCW_SECRET_KEY=KEY, SCALEWAY_BASE_URL=service.scaleway_url),
        ]
        outcomes = [process.ended() for process in processes]
        requests = list(service.requests)
    for outcome in outcomes:
        assert outcome.returncode == 0, outcome.stderr
        assert outcome.stderr == ""
    scripted, asked = (outcome.stdout.splitlines() for outcome in outcomes)
    return scripted, asked, requests


def test_callbacks_hear_of_tokens_usage_and_errors() -> None:
    scripted, asked, requests = run_both_ways("langchain_callbacks", "So says the service itself now.")
    failure = [
        "(InvalidRequestError, HTTP 422, retryable: False)",
        "The chain also raised it: InvalidRequestError",
    ]
    assert scripted == [
        "A| hinged| bridge| between| a| quay| and| a| ship.|",
        "(stop: 5 tokens in, 9 out)",
        "A| ship| that| carries| people|",
        "(length: 5 tokens in, 5 out)",
        *failure,
    ]
    assert asked == [
        "So| says| the| service| itself| now.|",
        "(stop: 5 tokens in, 6 out)",
        "So| says| the| service| itself|",
        "(length: 5 tokens in, 5 out)",
        *failure,
    ]
    assert [request.status for request in requests] == [200, 200, 422]
    assert [request.json.get("stream", False) for request in requests] == [True, True, False]


def test_pictures_travel_by_address_and_as_bytes() -> None:
    scripted, asked, requests = run_both_ways("langchain_vision", "So says the service.")
    assert scripted == [
        "The stand-in sees no pictures, but this one came by its address.",
        "Blue, white and red.",
        "The first one.",
    ]
    assert asked == ["So says the service."] * 3
    first, second, third = (pictures_in(request.json) for request in requests)
    assert first == ["https://picsum.photos/id/32/512/512"]
    assert third == [*first, *second]
    kind, _, data = second[0].partition(",")
    assert kind == "data:image/png;base64"
    check_flag(base64.b64decode(data))


def pictures_in(body: dict[str, Any]) -> list[str]:
    return [part["image_url"]["url"] for part in body["messages"][-1]["content"] if part["type"] == "image_url"]


def check_flag(png: bytes) -> None:
    with Image.open(BytesIO(png)) as picture:
        picture.load()
        assert picture.size == (96, 64)
        assert [picture.getpixel((x, 32)) for x in (10, 48, 90)] == [(0, 48, 144), (255, 255, 255), (208, 32, 48)]


def test_objects_are_read_out_of_texts() -> None:
    scripted, asked, requests = run_both_ways("langchain_extraction", BOOKING)
    assert scripted == [
        "Crossing(port='Ostra', day='Friday', vehicle='car')",
        "Crossing(port='home', day='Sunday', vehicle='car')",
        "2 to book (13 tokens): We are two adults with a car and want to sail to Ostra on Friday, and back on Sunday.",
        "0 to book (2 tokens): Is there a café on board?",
        f"cannot be read: {CUT_SHORT!r} (5 tokens): One bicycle to Vinnholm, on Monday if you please.",
    ]
    assert asked[0] == "Crossing(port='Ostra', day='Friday', vehicle=None)"
    assert [line.partition(" (")[0] for line in asked[1:]] == ["1 to book"] * 3
    assert len(requests) == 4
    for request in requests:
        schema = request.json["response_format"]["json_schema"]["schema"]
        assert schema["properties"].keys() == {"crossings"}
