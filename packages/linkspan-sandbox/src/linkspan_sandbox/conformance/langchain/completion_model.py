"""``CompletionModelTests``: what users may expect of a LangChain completion model."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache

from linkspan_sandbox import Cut, EndEarly, ErrorEvent, HTTPError, Reply, run
from linkspan_sandbox.conformance.langchain.base import KEY, Listener, MeetingEngine, Suite
from linkspan_sandbox.conformance.needs import needs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.language_models import BaseLLM

    from linkspan_sandbox import Sandbox

__all__ = ["CompletionModelTests"]

_PIECES = ["one", " two", " three", " four"]
_WHOLE = "".join(_PIECES)
_STREAMS = ("stream", "astream")
_FAULTS: dict[str, Cut | ErrorEvent | EndEarly] = {
    "cut": Cut(2),
    "error event": ErrorEvent(2),
    "end without end mark": EndEarly(2),
}


class CompletionModelTests(Suite):
    """A suite for subclasses of ``BaseLLM``. Override ``model_class`` and ``address``, and what differs.

    By default ``address`` points to the sandbox's TGI, with the argument names of linkspan's classes.
    """

    # ------------------------------------------------------------------ what to override

    @property
    def model_class(self) -> type[BaseLLM]:
        """The class."""
        raise NotImplementedError(f"{type(self).__name__} must override model_class")

    @property
    def model_params(self) -> dict[str, Any]:
        """Its arguments, without the server's address."""
        return {}

    def address(self, server: Sandbox) -> dict[str, Any]:
        """Return the arguments that point the class to the server."""
        return {"base_url": server.tgi_url, "api_key": KEY, "max_retries": 0}

    @property
    def max_tokens_name(self) -> str:
        """The class's argument that limits an answer's length."""
        return "max_tokens"

    @property
    def generation_info_keys(self) -> Sequence[str]:
        """Items that ``generation_info`` of an answer must have."""
        return ("finish_reason",)

    @property
    def reports_usage(self) -> bool:
        """Whether the API counts tokens."""
        return True

    @property
    def names_the_model(self) -> bool:
        """Whether the answering model is known, from the API or the arguments."""
        return True

    @property
    def marks_the_end_of_streams(self) -> bool:
        """Whether the API's streams have an end marker, so that one without it was cut."""
        return True

    # ------------------------------------------------------------------ helpers

    def make(self, server: Sandbox, **settings: Any) -> BaseLLM:
        """Return a model that calls the server."""
        return self.model_class(**{**self.model_params, **self.address(server), **settings})

    @staticmethod
    def pieces(model: BaseLLM, way: str, prompt: str = "count", **options: Any) -> list[str]:
        """Return the chunks of a stream, sync or async."""
        if way == "stream":
            return list(model.stream(prompt, **options))

        async def collect() -> list[str]:
            return [piece async for piece in model.astream(prompt, **options)]

        return asyncio.run(collect())

    # ------------------------------------------------------------------ answers

    def test_invoke(self, server: Sandbox) -> None:
        """An answer is the text, sync and async alike."""
        server.add_rule(_WHOLE)
        model = self.make(server)
        assert model.invoke("count") == _WHOLE
        assert asyncio.run(model.ainvoke("count")) == _WHOLE

    @pytest.mark.parametrize("way", _STREAMS)
    def test_stream(self, server: Sandbox, way: str) -> None:
        """A stream's pieces add up to the answer: no special token, nothing missing."""
        server.add_rule(Reply(_PIECES))
        pieces = self.pieces(self.make(server), way)
        assert "".join(pieces) == _WHOLE
        assert [piece for piece in pieces if piece] == _PIECES

    @pytest.mark.parametrize("way", ["invoke", *_STREAMS])
    def test_stop(self, server: Sandbox, way: str) -> None:
        """The answer ends before a stop text, streamed or not, even if the text spans pieces."""
        server.add_rule(Reply(_PIECES))
        model = self.make(server)
        options: dict[str, Any] = {"stop": ["o three"]}
        if way == "invoke":
            assert model.invoke("count", **options) == "one tw"
        else:
            assert "".join(self.pieces(model, way, **options)) == "one tw"

    # ------------------------------------------------------------------ batches

    @pytest.mark.parametrize("way", ["batch", "abatch", "generate", "agenerate"])
    def test_prompts_are_asked_at_once(self, way: str) -> None:
        """Four prompts are four concurrent requests, and their answers keep the order."""
        prompts: list[Any] = ["one", "two", "three", "four"]
        engine = MeetingEngine(len(prompts))
        with run(engine) as server:
            model = self.make(server)
            if way in {"batch", "abatch"}:
                found = model.batch(prompts) if way == "batch" else asyncio.run(model.abatch(prompts))
            else:
                result = model.generate(prompts) if way == "generate" else asyncio.run(model.agenerate(prompts))
                found = [generations[0].text for generations in result.generations]
        assert found == prompts
        assert engine.most == len(prompts)

    # ------------------------------------------------------------------ callbacks

    @pytest.mark.parametrize("way", _STREAMS)
    def test_callbacks_hear_every_token(self, server: Sandbox, way: str) -> None:
        """A stream fires one start, a token per piece with its chunk, and one end."""
        server.add_rule(Reply(_PIECES))
        listener = Listener()
        self.pieces(self.make(server), way, config={"callbacks": [listener]})
        assert [token for token in listener.tokens if token] == _PIECES
        assert [chunk.text for chunk in listener.chunks] == listener.tokens
        assert (listener.started, len(listener.ended), listener.failed) == (["count"], 1, [])

    def test_astream_events(self, server: Sandbox) -> None:
        """The events contain the tokens."""
        server.add_rule(Reply(_PIECES))
        model = self.make(server)

        async def collect() -> list[Any]:
            return [event async for event in model.astream_events("count", version="v2")]

        events = asyncio.run(collect())
        texts = [_text(event["data"]["chunk"]) for event in events if event["event"] == "on_llm_stream"]
        assert [text for text in texts if text] == _PIECES

    @pytest.mark.parametrize("way", _STREAMS)
    def test_callbacks_hear_a_failure(self, server: Sandbox, way: str) -> None:
        """A broken stream fires one start and one error, and no end."""
        server.add_rule(Reply(_PIECES, fault=Cut(2)))
        listener = Listener()
        with pytest.raises(Exception):  # noqa: B017, PT011  # any error, as long as the callback gets the same
            self.pieces(self.make(server), way, config={"callbacks": [listener]})
        assert (len(listener.started), len(listener.ended), len(listener.failed)) == (1, 0, 1)

    # ------------------------------------------------------------------ details of an answer

    def test_generation_info(self, server: Sandbox) -> None:
        """The API's details of an answer are kept."""
        server.add_rule(_WHOLE)
        generation = self.make(server).generate(["count"]).generations[0][0]
        assert set(self.generation_info_keys) <= set(generation.generation_info or {})

    @pytest.mark.parametrize("way", _STREAMS)
    def test_generation_info_of_a_stream(self, server: Sandbox, way: str) -> None:
        """The merged infos of the pieces equal those of an unstreamed answer: nothing appears twice."""
        server.add_rule(Reply(_PIECES))
        model = self.make(server)
        whole = model.generate(["count"]).generations[0][0].generation_info or {}
        listener = Listener()
        self.pieces(model, way, config={"callbacks": [listener]})
        streamed = listener.ended[0].generations[0][0].generation_info or {}
        for key in self.generation_info_keys:
            assert key in streamed
            assert streamed[key] == whole[key]

    @needs("reports_usage")
    def test_llm_output(self, server: Sandbox) -> None:
        """A result has the model's name and the total token counts of all prompts."""
        server.add_rule(_WHOLE)
        model = self.make(server)
        one, two = (model.generate(prompts).llm_output or {} for prompts in (["count"], ["count", "count"]))
        assert one.get("model_name") or not self.names_the_model
        assert one["token_usage"]
        counted = {name: count for name, count in one["token_usage"].items() if isinstance(count, int)}
        assert counted
        assert {name: two["token_usage"][name] for name in counted} == {name: 2 * n for name, n in counted.items()}

    # ------------------------------------------------------------------ the cache

    def test_equal_calls_are_answered_from_the_cache(self, server: Sandbox) -> None:
        """Each prompt is sent once, also by another instance with the same settings."""
        server.add_rule(_WHOLE)
        cache = InMemoryCache()
        assert self.make(server, cache=cache).invoke("count") == self.make(server, cache=cache).invoke("count")
        assert len(server.requests) == 1

    @pytest.mark.parametrize("what", ["setting", "option of the call", "stop"])
    def test_other_calls_are_not(self, server: Sandbox, what: str) -> None:
        """Another length limit or stop text is another cache key."""
        server.add_rule(Reply(_PIECES))
        cache = InMemoryCache()
        name = self.max_tokens_name
        if what == "setting":
            found = [self.make(server, cache=cache, **{name: bound}).invoke("count") for bound in (2, 4)]
        else:
            model = self.make(server, cache=cache)
            options: list[dict[str, Any]] = [{name: 2}, {name: 4}]
            if what == "stop":
                options = [{"stop": ["two"]}, {"stop": ["four"]}]
            found = [model.invoke("count", **option) for option in options]
        assert len(server.requests) == 2
        assert found[0] != found[1]

    # ------------------------------------------------------------------ life of a model

    def test_leaving_a_stream_stops_the_server(self, server: Sandbox) -> None:
        """Leaving a loop early closes the connection, so that the server stops generating."""
        server.add_rule(Reply([f" {n}" for n in range(10_000)], pause=0.01))
        stream = self.make(server).stream("count")
        for _ in stream:
            break
        stream.close()  # type: ignore[attr-defined]  # a generator
        assert server.requests[0].wait_finished(60)
        assert server.requests[0].client_left

    def test_leaving_an_async_stream_stops_the_server(self, server: Sandbox) -> None:
        """The same, async."""
        server.add_rule(Reply([f" {n}" for n in range(10_000)], pause=0.01))
        model = self.make(server)

        async def leave() -> bool:
            stream: Any = model.astream("count")
            async for _ in stream:
                break
            await stream.aclose()
            return await asyncio.to_thread(server.requests[0].wait_finished, 60)

        assert asyncio.run(leave())
        assert server.requests[0].client_left

    def test_pickled(self, server: Sandbox) -> None:
        """A model can be pickled to another process and answers there, even after use."""
        server.add_rule(_WHOLE)
        model = self.make(server)
        model.invoke("count")
        assert pickle.loads(pickle.dumps(model)).invoke("count") == _WHOLE  # noqa: S301  # made here

    def test_a_second_event_loop(self, server: Sandbox) -> None:
        """A model works in one event loop after another."""
        server.add_rule(Reply(_PIECES))
        model = self.make(server)
        for _ in range(2):
            assert asyncio.run(model.ainvoke("count")) == _WHOLE
            assert "".join(self.pieces(model, "astream")) == _WHOLE

    def test_the_key_is_not_shown(self, server: Sandbox) -> None:
        """Neither ``repr`` nor ``str`` nor the dumped fields contain the key, but it reaches the server."""
        server.add_rule(_WHOLE)
        model = self.make(server)
        model.invoke("count")
        assert "***" in server.requests[0].headers.get("authorization", "no key was sent")
        for shown in (repr(model), str(model), repr(model.model_dump())):
            assert KEY not in shown

    # ------------------------------------------------------------------ failures

    @pytest.mark.parametrize("way", _STREAMS)
    @pytest.mark.parametrize(
        "fault",
        ["cut", "error event", pytest.param("end without end mark", marks=needs("marks_the_end_of_streams"))],
    )
    def test_a_stream_that_dies_is_an_error(self, server: Sandbox, way: str, fault: str) -> None:
        """A broken stream yields what arrived, then raises: half an answer never passes for a whole one."""
        server.add_rule(Reply(_PIECES, fault=_FAULTS[fault]))
        listener = Listener()
        with pytest.raises(self.error_class):
            self.pieces(self.make(server), way, config={"callbacks": [listener]})
        assert "".join(listener.tokens) == "one two"

    @pytest.mark.parametrize("way", ["invoke", "ainvoke"])
    @pytest.mark.parametrize(("status", "retryable"), [(401, False), (422, False), (429, True), (503, True)])
    def test_refusals_are_model_errors(self, server: Sandbox, way: str, status: int, retryable: bool) -> None:
        """An error status raises one of core's ``ModelError``, which middleware can act on."""
        server.add_rule(Reply(fault=HTTPError(status)))
        model = self.make(server)
        with pytest.raises(self.error_class) as caught:
            model.invoke("count") if way == "invoke" else asyncio.run(model.ainvoke("count"))
        self.check_error(caught.value, retryable=retryable)

    def test_an_unknown_argument_is_refused(self, server: Sandbox) -> None:
        """A misspelt argument raises an error that names it, where it is passed."""
        with pytest.raises((TypeError, ValueError), match="temperatur"):
            self.make(server, temperatur=0.5)

    # ------------------------------------------------------------------ tracing

    def test_tracing_parameters(self, server: Sandbox) -> None:
        """Traces contain the run type, the provider and the model, but no key."""
        parameters = self.make(server)._get_ls_params()  # noqa: SLF001  # core has no public way
        assert parameters["ls_model_type"] == "llm"
        assert parameters["ls_provider"]
        assert "://" not in str(parameters.get("ls_model_name"))
        assert KEY not in repr(parameters)


def _text(chunk: Any) -> str:
    return chunk if isinstance(chunk, str) else str(chunk.text)
