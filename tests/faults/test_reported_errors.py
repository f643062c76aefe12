"""Errors that servers and gateways report under status 200, in whatever shape, are raised in their own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage

from linkspan.errors import LinkspanError, ServerError
from tests.faults.wire import LANGCHAIN, LLAMA_INDEX, Api, Wire, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

SHAPES: dict[str, dict[str, Any]] = {
    "an object": {"error": {"message": "no memory", "type": "server_error"}},
    "a text": {"error": "no memory", "error_type": "generation"},
    "a detail": {"detail": "no memory"},
    "a message": {"message": "no memory", "code": 500},
    "vLLM's": {"object": "error", "message": "no memory", "type": "InternalServerError", "param": None, "code": 500},
    "an event's": {"type": "error", "code": "server_error", "message": "no memory", "param": None},
}


def _streamed(model: Any) -> Iterator[Any]:
    return iter(model.stream("x") if hasattr(model, "invoke") else model.stream_chat([ChatMessage("x")]))


@pytest.mark.parametrize("api", [*LANGCHAIN, *LLAMA_INDEX], ids=lambda api: api.name)
def test_an_error_in_the_middle_of_a_stream(api: Api) -> None:
    wire = Wire()
    model = api.make(**wire.clients())
    for name, shape in SHAPES.items():
        body = api.body([*api.events[: api.opening], raw(shape), *api.events[api.opening :]])
        wire.respond = lambda body=body: httpx.Response(200, content=body)  # type: ignore[misc]
        with pytest.raises(ServerError, match="no memory") as caught:
            list(_streamed(model))
        assert caught.value.partial_text.startswith("Hello "), name


@pytest.mark.parametrize("api", [*LANGCHAIN, *LLAMA_INDEX], ids=lambda api: api.name)
def test_an_error_instead_of_an_answer(api: Api) -> None:
    wire = Wire()
    model = api.make(**wire.clients())
    for name, shape in SHAPES.items():
        for body in (raw(shape), b"data: " + raw(shape) + b"\n\n"):
            wire.respond = lambda body=body: httpx.Response(200, content=body)  # type: ignore[misc]
            with pytest.raises(LinkspanError, match="no memory"):
                pytest.fail(f"{name}: {list(_streamed(model))}")
        wire.respond = lambda shape=shape: httpx.Response(200, content=raw(shape))  # type: ignore[misc]
        with pytest.raises(LinkspanError, match="no memory"):
            pytest.fail(f"{name}: {model.invoke('x') if hasattr(model, 'invoke') else model.complete('x')}")
