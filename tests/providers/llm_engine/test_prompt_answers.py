"""Answers of the prompt API, whole and streamed, and its errors, over a real socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from linkspan.conversation import TokenLogprob, Usage
from linkspan.errors import (
    AuthenticationError,
    ContextOverflowError,
    InterruptedStreamError,
    InvalidRequestError,
    InvalidResponseError,
    LinkspanError,
    NotFoundError,
    RateLimitError,
    ServerError,
)
from linkspan.providers.llm_engine import LLMEnginePromptCodec
from tests.providers.llm_engine.conftest import KEY, Caller, failed, prompt, said
from tests.support.loopback import END, Cut, chunk, head, http

if TYPE_CHECKING:
    from linkspan.conversation import PromptRequest
    from tests.support.loopback import LoopbackServer

REQUEST_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


class TestWhole:
    async def test_keeps_everything_and_invents_nothing(self, prompts: Caller[PromptRequest]) -> None:
        output = {
            "text": " there was",
            "num_prompt_tokens": 5,
            "num_completion_tokens": 2,
            "tokens": [{"token": " there", "log_prob": -0.5}, {"token": " was", "log_prob": -1.0}],
            "stop_reason": "later",
        }
        body = {"request_id": "req-9", "output": output, "gateway": "eu"}
        answer = await prompts.answered(prompt(), body)
        assert answer.text == " there was"
        assert answer.finish_reason is None
        assert answer.request_id == "req-9"
        assert answer.logprobs == [TokenLogprob(" there", -0.5), TokenLogprob(" was", -1.0)]
        assert answer.usage == Usage(5, 2, 7, raw={"num_prompt_tokens": 5, "num_completion_tokens": 2})
        assert answer.extra == {"gateway": "eu", "stop_reason": "later"}
        assert answer.raw == body

    @pytest.mark.parametrize(
        ("counts", "usage"),
        [
            ({"num_prompt_tokens": None, "num_completion_tokens": 2}, (None, 2, None)),
            ({"num_prompt_tokens": 0, "num_completion_tokens": 3}, (None, 3, None)),
            ({"num_completion_tokens": 0}, None),
        ],
    )
    async def test_a_count_of_zero_is_no_count(
        self, prompts: Caller[PromptRequest], counts: dict[str, Any], usage: tuple[Any, ...] | None
    ) -> None:
        answer = await prompts.answered(prompt(), {"request_id": None, "output": {"text": "x", **counts}})
        found = answer.usage
        assert (found and (found.input_tokens, found.output_tokens, found.total_tokens)) == usage

    async def test_an_answer_without_output_is_none(self, prompts: Caller[PromptRequest]) -> None:
        with pytest.raises(
            InvalidResponseError, match=r"output.text is missing \(it holds: request_id, output\)"
        ) as caught:
            await prompts.answered(prompt(), {"request_id": "req-3", "output": None})
        assert caught.value.request_id == "req-3"
        assert (await prompts.answered(prompt(), {"output": {"text": ""}})).text == ""

    async def test_cuts_at_stop_texts_where_the_framework_ignores_them(self, prompts: Caller[PromptRequest]) -> None:
        body = {"output": {"text": "one END two", "num_completion_tokens": 3}}
        answer = await prompts.answered(prompt(stop=["END"]), body)
        assert (answer.text, answer.finish_reason) == ("one ", "stop")
        keeping = prompt(stop=["END"], parameters={"include_stop_str_in_output": True})
        answer = await prompts.answered(keeping, {"output": {"text": "one END"}})
        assert (answer.text, answer.finish_reason) == ("one END", None)

    @pytest.mark.parametrize(
        ("asked", "made", "finish"),
        [
            ({"parameters": {"max_new_tokens": 3}}, 3, "length"),
            ({"parameters": {"max_tokens": 3}}, 4, "length"),
            ({"parameters": {"max_new_tokens": 9}, "extra_body": {"max_new_tokens": 3}}, 3, "length"),
            ({}, 256, "length"),
            ({"parameters": {"max_new_tokens": 3}}, 2, None),
            ({"parameters": {"max_new_tokens": 3}}, 0, None),
            ({"parameters": {"max_new_tokens": 3}, "stop": ["END"]}, 3, "stop"),
        ],
    )
    async def test_the_count_tells_of_the_limit(
        self, prompts: Caller[PromptRequest], asked: dict[str, Any], made: int, finish: str | None
    ) -> None:
        text = "one END" if "stop" in asked else "one two"
        whole = await prompts.answered(prompt(**asked), {"output": {"text": text, "num_completion_tokens": made}})
        streamed = await prompts.streamed(prompt(**asked), said(text, made=made, finished=True))
        assert (whole.finish_reason, streamed.finish_reason) == (finish, finish)

    async def test_a_stop_text_is_kept_however_it_was_asked_for(self, prompts: Caller[PromptRequest]) -> None:
        keeping = prompt(stop=["END"], extra_body={"include_stop_str_in_output": True})
        assert (await prompts.answered(keeping, {"output": {"text": "one END"}})).text == "one END"
        assert (await prompts.streamed(keeping, said("one END", finished=True))).text == "one END"


class TestStream:
    async def test_puts_the_deltas_together(self, prompts: Caller[PromptRequest]) -> None:
        answer = await prompts.streamed(
            prompt(),
            said("Ein", made=1),
            said(" schöner\u2028 T\u0085ag", made=2),
            said("", made=2, finished=True, num_prompt_tokens=4, future=1),
        )
        assert answer.text == "Ein schöner\u2028 T\u0085ag"
        assert answer.finish_reason is None
        assert answer.request_id == "req-1"
        assert answer.usage == Usage(4, 2, 6, raw={"num_prompt_tokens": 4, "num_completion_tokens": 2})
        assert answer.extra == {"future": 1}
        assert prompts.server.requests[-1].path == "/v1/llm/completions-stream"

    async def test_the_last_step_is_marked_and_has_usage_and_request_id(self, prompts: Caller[PromptRequest]) -> None:
        both = b"data: " + said("a", made=1) + b"\r\n\r\ndata: " + said("b", finished=True) + b"\r\n\r\n"
        prompts.server.answer(head(), chunk(both), END)
        deltas = await prompts.stream(prompt())
        assert [delta.text for delta in deltas] == ["a", "b", ""]
        assert [delta.last for delta in deltas] == [False, False, True]
        assert [delta.request_id for delta in deltas] == [None, None, "req-1"]
        assert deltas[-1].usage == Usage(None, 1, None, raw={"num_prompt_tokens": None, "num_completion_tokens": 1})

    async def test_has_log_probabilities(self, prompts: Caller[PromptRequest]) -> None:
        tokens = [{"token": " a", "log_prob": -0.25}, {"token": "</s>", "log_prob": -0.5}]
        answer = await prompts.streamed(prompt(), said(" a", token=tokens[0]), said("", finished=True, token=tokens[1]))
        assert answer.logprobs == [TokenLogprob(" a", -0.25), TokenLogprob("</s>", -0.5)]

    async def test_counts_of_zero_are_no_counts(self, prompts: Caller[PromptRequest]) -> None:
        answer = await prompts.streamed(
            prompt(), said("a", made=0), said("b", made=0, finished=True, num_prompt_tokens=0)
        )
        assert (answer.text, answer.usage) == ("ab", None)

    async def test_skips_events_without_output(self, prompts: Caller[PromptRequest]) -> None:
        nothing = json.dumps({"request_id": None, "output": None, "error": None}).encode()
        answer = await prompts.streamed(prompt(), nothing, said("a"), nothing, said("b", finished=True))
        assert (answer.text, answer.request_id) == ("ab", "req-1")

    @pytest.mark.parametrize("after", [failed("Expecting value"), said("more"), b"[DONE]"])
    async def test_finished_ends_it_whatever_follows(self, prompts: Caller[PromptRequest], after: bytes) -> None:
        answer = await prompts.streamed(prompt(), said("a"), said("b", finished=True), after)
        assert answer.text == "ab"

    async def test_a_cut_after_finished_loses_nothing(self, prompts: Caller[PromptRequest]) -> None:
        prompts.server.answer(head(), chunk(b"data: " + said("a", finished=True) + b"\r\n\r\n"), Cut())
        assert [delta.text for delta in await prompts.stream(prompt())] == ["a", ""]

    async def test_tensorrt_never_says_finished(self, face: str, server: LoopbackServer) -> None:
        prompts: Caller[PromptRequest] = Caller(face, LLMEnginePromptCodec(inference_framework="tensorrt_llm"), server)
        answer = await prompts.streamed(prompt(), said("a", made=1), said("b", made=2))
        assert answer.text == "ab"
        assert answer.usage is not None
        assert answer.usage.output_tokens == 2

    async def test_any_other_framework_has_to_say_finished(self, prompts: Caller[PromptRequest]) -> None:
        with pytest.raises(InterruptedStreamError, match="inference_framework='tensorrt_llm'") as caught:
            await prompts.streamed(prompt(), said("a", made=1), said("b", made=2))
        assert caught.value.partial_text == "ab"

    async def test_deepspeed_repeats_the_whole_text(self, prompts: Caller[PromptRequest]) -> None:
        answer = await prompts.streamed(
            prompt(), said("one"), said(" two"), said("one two three", finished=True, made=3)
        )
        assert answer.text == "one two three"

    async def test_a_counted_repetition_is_the_models_own(self, prompts: Caller[PromptRequest]) -> None:
        assert (await prompts.streamed(prompt(), said("ha", made=1), said("ha", made=2, finished=True))).text == "haha"

    async def test_cuts_at_stop_texts_where_the_framework_ignores_them(self, prompts: Caller[PromptRequest]) -> None:
        asked = prompt(parameters={"stop_sequences": ["END"]})
        answer = await prompts.streamed(asked, said("one E", made=1), said("ND two", made=2), end=False)
        assert (answer.text, answer.finish_reason, answer.request_id) == ("one ", "stop", "req-1")
        assert prompts.server.wait_closed()

    async def test_an_error_event_that_comes_first(self, prompts: Caller[PromptRequest]) -> None:
        with pytest.raises(InvalidRequestError, match="at least 1") as caught:
            await prompts.streamed(prompt(), failed("{'message': 'max_tokens must be at least 1'}", 400))
        assert (caught.value.status_code, caught.value.request_id) == (400, "req-1")
        assert caught.value.message == "llm_engine: max_tokens must be at least 1"
        with pytest.raises(ContextOverflowError):
            await prompts.streamed(prompt(), failed("{'message': 'maximum context length is 2048'}", 400))

    async def test_an_error_event_after_text(self, prompts: Caller[PromptRequest]) -> None:
        with pytest.raises(ServerError, match="Internal error occurred") as caught:
            await prompts.streamed(prompt(), said("Half an"), failed("Internal error occurred."))
        assert caught.value.partial_text == "Half an"
        assert caught.value.request_id == "req-1"
        assert caught.value.is_retryable
        assert "chat" not in caught.value.message

    async def test_a_connection_that_breaks_in_the_middle(self, prompts: Caller[PromptRequest]) -> None:
        prompts.server.answer(head(), chunk(b"data: " + said("Half an") + b"\r\n\r\n"), Cut())
        with pytest.raises(InterruptedStreamError) as caught:
            await prompts.stream(prompt())
        assert caught.value.partial_text == "Half an"

    async def test_a_stream_without_any_output(self, prompts: Caller[PromptRequest]) -> None:
        nothing = json.dumps({"request_id": "req-5", "output": None, "error": None}).encode()
        with pytest.raises(InvalidResponseError, match="held no answer") as caught:
            await prompts.streamed(prompt(), nothing)
        assert caught.value.request_id == "req-5"

    @pytest.mark.parametrize("event", [b"not json", b"[1]"])
    async def test_an_event_that_is_none(self, prompts: Caller[PromptRequest], event: bytes) -> None:
        with pytest.raises(InvalidResponseError):
            await prompts.streamed(prompt(), said("a"), event)

    async def test_json_in_place_of_a_stream(self, prompts: Caller[PromptRequest]) -> None:
        prompts.server.answer(http(200, b'{"request_id": "x", "output": {"text": "a"}}'))
        with pytest.raises(InvalidResponseError, match="a stream was asked for"):
            await prompts.stream(prompt())


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "body", "kind", "words"),
        [
            (400, {"detail": "top_k needs to be strictly positive"}, InvalidRequestError, "strictly positive"),
            (400, {"detail": {"message": "bad", "object": "error"}}, InvalidRequestError, "bad"),
            (
                400,
                {"detail": "Endpoint a is not a streaming endpoint."},
                InvalidRequestError,
                'endpoint_type is "sync": call it without streaming',
            ),
            (
                400,
                {"detail": "Unsupported inference framework LLMInferenceFramework.SGLANG"},
                InvalidRequestError,
                "SGLang endpoint serves chat only",
            ),
            (401, {"detail": "Could not authenticate user"}, AuthenticationError, "SCALE_API_KEY.*auth"),
            (404, {"detail": "Model endpoint a not found."}, NotFoundError, "may belong to another team"),
            (404, {"detail": "Not Found"}, NotFoundError, "no such route: base_url"),
            (410, {"detail": "The endpoint a is deprecated. max_workers is 0."}, NotFoundError, "retired"),
            (429, {"error": "Too many requests", "timestamp": "now"}, RateLimitError, "Too many requests"),
            (502, b"<html><title>Bad gateway</title></html>", ServerError, "Bad gateway"),
            (503, b"", ServerError, "no explanation"),
        ],
    )
    async def test_each_shape_of_body(
        self, prompts: Caller[PromptRequest], status: int, body: Any, kind: type[LinkspanError], words: str
    ) -> None:
        with pytest.raises(kind, match=words) as caught:
            await prompts.answered(prompt(), body, status)
        assert caught.value.status_code == status
        assert caught.value.provider == "llm_engine"

    @pytest.mark.parametrize(
        "body",
        [
            {"detail": f"Upstream service error for request_id {REQUEST_ID}"},
            {"error": "Internal error occurred.", "timestamp": "now", "request_id": REQUEST_ID},
        ],
    )
    async def test_500_has_the_request_id_and_may_be_tried_again(
        self, prompts: Caller[PromptRequest], body: dict[str, Any]
    ) -> None:
        with pytest.raises(ServerError) as caught:
            await prompts.answered(prompt(), body, 500)
        assert caught.value.request_id == REQUEST_ID
        assert caught.value.is_retryable

    async def test_a_validation_error_names_the_field_and_not_the_prompt(self, prompts: Caller[PromptRequest]) -> None:
        entry = {
            "type": "less_than_equal",
            "loc": ["body", "temperature"],
            "msg": "Input should be less than or equal to 1",
            "input": "the prompt",
            "ctx": {"le": 1.0},
        }
        with pytest.raises(InvalidRequestError, match=r"body.temperature: Input should be") as caught:
            await prompts.answered(prompt(), {"detail": [entry]}, 422)
        assert "the prompt" not in f"{caught.value}{caught.value.body}"

    async def test_a_key_in_an_error_is_masked(self, prompts: Caller[PromptRequest]) -> None:
        with pytest.raises(AuthenticationError) as caught:
            await prompts.answered(prompt(), {"detail": f"unknown user {KEY}"}, 401)
        assert KEY not in f"{caught.value}{caught.value.body}{caught.value.headers}"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (b"5", "is a JSON int, not an object"),
        (b'{"output": "x"}', "output must be an object"),
        (b'{"output": {"text": 5}}', "output.text must be text"),
        (said("", made="many"), "num_completion_tokens must be a whole number"),
        (said("", finished=1), "finished must be true or false"),
        (said("", token=5), "a token must be an object"),
        (said("", token={"token": "a", "log_prob": "low"}), "log_prob must be a number"),
    ],
)
async def test_an_event_with_a_field_of_another_type_keeps_what_came_before(
    prompts: Caller[PromptRequest], broken: bytes, words: str
) -> None:
    with pytest.raises(InvalidResponseError, match=words) as caught:
        await prompts.streamed(prompt(), said("Once"), broken)
    assert caught.value.partial_text == "Once"
