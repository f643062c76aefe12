"""LightLLM and old TGI: counts that are said are read, counts that are not are unknown, a prompt is repeated alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan_sandbox import datacrunch, run
from tests.verda.conftest import ASKERS, KEY, Asker

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

PROMPTS = [asker for asker in ASKERS if asker.name == "DataCrunch"]
prompts = pytest.mark.parametrize("asker", PROMPTS, ids=lambda asker: asker.framework)
_WHOLE = {
    "generated_text": ["one", "two"],
    "count_output_tokens": [1, 2],
    "finish_reason": ["stop", "length"],
    "prompt_tokens": 4,
}


def _event(text: str, made: int, *, finished: bool) -> dict[str, Any]:
    token = {"id": 1, "text": text, "logprob": -1.0, "special": False, "count_output_tokens": made, "prompt_tokens": 4}
    reason = "stop" if finished else None
    return {"token": token, "generated_text": None, "finished": finished, "finish_reason": reason, "details": None}


def _lightllm(request: httpx.Request) -> httpx.Response:
    if request.url.path.endswith("/generate"):
        return httpx.Response(200, json=_WHOLE)
    events = [_event("on", 1, finished=False), _event("e", 2, finished=True)]
    text = "".join(f"data:{json.dumps(event)}\n\n" for event in events)
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


def _make(asker: Asker, sandbox: Sandbox, **settings: Any) -> Any:
    client = httpx.Client(transport=httpx.MockTransport(_lightllm))
    return asker.make(sandbox, api="generate", http_client=client, **settings)


@prompts
def test_lightllms_several_answers_and_counts(asker: Asker, sandbox: Sandbox) -> None:
    model = _make(asker, sandbox)
    if asker.framework == "langchain":
        result = model.generate(["hi"])
        assert [one.text for one in result.generations[0]] == ["one", "two"]
        assert [one.generation_info["finish_reason"] for one in result.generations[0]] == ["stop", "length"]
        assert result.llm_output["token_usage"] == {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
    else:
        answer = model.complete("hi")
        facts = answer.additional_kwargs
        assert (answer.text, facts["alternatives"]) == ("one", ["two"])
        assert (facts["prompt_tokens"], facts["completion_tokens"]) == (4, 3)


@prompts
def test_lightllms_stream_ends_whole_and_is_counted(asker: Asker, sandbox: Sandbox) -> None:
    model = _make(asker, sandbox)
    if asker.framework == "langchain":
        result = model.generate(["hi"], stream=True)
        info = result.generations[0][0].generation_info
        assert result.generations[0][0].text == "one"
        assert info["finish_reason"] == "stop"
        assert info["token_usage"] == {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
    else:
        last = list(model.stream_complete("hi"))[-1]
        assert last.text == "one"
        assert last.additional_kwargs["finish_reason"] == "stop"
        assert last.additional_kwargs["total_tokens"] == 6


@prompts
def test_the_prompt_is_repeated_streamed_and_whole(asker: Asker, sandbox: Sandbox) -> None:
    model = _make(asker, sandbox, return_full_text=True)  # which LightLLM ignores
    assert asker.ask(model, "so: ") == "so: one"
    assert "".join(asker.pieces(model, "so: ")) == "so: one"


def test_a_count_that_an_old_tgi_does_not_say_is_unknown() -> None:
    with run(datacrunch_options=datacrunch.Options(version="2.2.0")) as old:
        for asker in ASKERS:
            if asker.name != "ChatDataCrunch":
                continue
            model = asker.cls(base_url=old.tgi_url, api_key=KEY, chat_template="chatml")
            if asker.framework == "langchain":
                chunks = list(model.stream("hi"))
                assert all(chunk.usage_metadata is None for chunk in chunks)
                assert chunks[-1].response_metadata["token_usage"].keys() == {"completion_tokens"}
            else:
                facts = list(model.stream_complete("hi"))[-1].additional_kwargs
                assert "completion_tokens" in facts
                assert not {"prompt_tokens", "total_tokens"} & facts.keys()
