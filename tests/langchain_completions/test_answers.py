"""What the APIs say of an answer, where LangChain's users look for it; and what is sent to have it said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan import errors
from linkspan_sandbox import Reply, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.outputs import GenerationChunk

COUNTS = {"prompt_tokens", "completion_tokens", "total_tokens"}


def last_info(llm: Any, prompt: str, **options: Any) -> dict[str, Any]:
    """The generation_info of a stream's last chunk; no other chunk has one."""
    chunks = list(llm._stream(prompt, **options))
    assert [chunk.generation_info for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    return dict(chunks[-1].generation_info)


def whole_info(llm: Any, prompt: str, **options: Any) -> dict[str, Any]:
    return dict(llm.generate([prompt], **options).generations[0][0].generation_info)


# ------------------------------------------------------------------ LLM Engine


def test_llm_engine_says_what_the_api_says(make: Callable[..., Any], sandbox: Sandbox) -> None:
    llm = make("llm_engine", return_token_log_probs=True)
    info = whole_info(llm, "one two")
    assert info.pop("request_id")
    assert info == {
        "model_name": "llama-2-7b",
        "token_usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
        "logprobs": [
            {"token": "one", "logprob": -0.25, "top_logprobs": []},
            {"token": " two", "logprob": -0.25, "top_logprobs": []},
        ],
    }
    streamed = last_info(llm, "one two")
    assert streamed.pop("request_id")
    # The sandbox counts nothing in streams, as deployments with current vLLM do: nothing is made up.
    assert streamed == {"model_name": "llama-2-7b", "logprobs": info["logprobs"]}


def test_llm_engine_counts_in_streams_if_the_server_does(make: Callable[..., Any], sandbox: Sandbox) -> None:
    def event(text: str, made: int, **more: Any) -> dict[str, Any]:
        output = {"text": text, "finished": False, "num_prompt_tokens": None, "num_completion_tokens": made, **more}
        return {"request_id": "r-1", "output": {**output, "token": None}, "error": None}

    last = event(" two", 2, finished=True, num_prompt_tokens=5)
    nothing = {"request_id": "r-1", "output": None, "error": None}
    after = {"request_id": "r-1", "output": None, "error": {"status_code": 500, "content": {"error": "late"}}}
    sandbox.add_rule(Reply(events=[event("one", 1), nothing, last, after]))
    assert last_info(make("llm_engine"), "x") == {
        "request_id": "r-1",
        "model_name": "llama-2-7b",
        "token_usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }


def test_llm_engine_body(make: Callable[..., Any], sandbox: Sandbox) -> None:
    make("llm_engine").invoke("Hi")
    assert sandbox.last_request.json == {"prompt": "Hi", "max_new_tokens": 256, "temperature": 0.2}
    fields = {
        "temperature": 0.5,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "top_k": 5,
        "top_p": 0.9,
        "include_stop_str_in_output": True,
        "skip_special_tokens": False,
        "guided_regex": "[a-z]+",
        "return_token_log_probs": True,
    }
    make("llm_engine", **fields, max_tokens=9, stop="END").invoke("Hi")
    asked = {"prompt": "Hi", "max_new_tokens": 9, "stop_sequences": ["END"], **fields}
    assert sandbox.last_request.json == asked
    make("llm_engine", **fields).invoke("Hi", top_k=None, guided_regex=None, guided_grammar="root ::= 'a'")
    body = sandbox.last_request.json
    assert "top_k" not in body
    assert (body["guided_grammar"], "guided_regex" in body) == ("root ::= 'a'", False)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"presence_penalty": -0.5}, "presence_penalty"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": 0}, "top_k"),
        ({"temperature": 0, "top_p": 0.5}, "top_p.*temperature=0"),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_regex and guided_choice"),
    ],
)
@pytest.mark.parametrize("way", ["invoke", "stream", "call"])
def test_llm_engine_refuses_before_sending(
    make: Callable[..., Any], sandbox: Sandbox, fields: dict[str, Any], names: str, way: str
) -> None:
    llm, options = (make("llm_engine"), fields) if way == "call" else (make("llm_engine", **fields), {})
    with pytest.raises(errors.InvalidRequestError, match=names):
        list(getattr(llm, "stream" if way == "stream" else "invoke")("x", **options))
    assert len(sandbox.requests) == 0


def test_llm_engine_names_are_encoded(make: Callable[..., Any], sandbox: Sandbox) -> None:
    with pytest.raises(errors.NotFoundError, match="another team"):
        make("llm_engine", model="a&b/c d").invoke("x")
    assert sandbox.last_request.query == "model_endpoint_name=a%26b%2Fc%20d"
    make("llm_engine").invoke("x", model="mistral-7b")
    assert sandbox.last_request.query == "model_endpoint_name=mistral-7b"


# ------------------------------------------------------------------ DataCrunch


@pytest.mark.parametrize("kind", ["datacrunch", "container"])
def test_datacrunch_says_what_details_say(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    llm = make(kind, top_n_tokens=2, do_sample=True)
    info = whole_info(llm, "one two", seed=18_446_744_073_709_551_615, decoder_input_details=True)
    assert (info["finish_reason"], info["tgi_finish_reason"]) == ("stop", "eos_token")
    assert info["generated_tokens"] == 3
    assert info["seed"] == 18_446_744_073_709_551_615
    assert [token["text"] for token in info["prefill"]] == ["one", " two"]
    assert info["prefill"][0]["logprob"] is None
    assert len(info["top_tokens"]) == 3
    assert info["token_usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    assert [(token["token"], token["logprob"], token["special"]) for token in info["logprobs"]] == [
        ("one", -0.25, False),
        (" two", -0.25, False),
        ("</s>", -0.25, True),
    ]
    assert all(isinstance(token["id"], int) for token in info["logprobs"])
    assert [len(token["top_logprobs"]) for token in info["logprobs"]] == [len(row) for row in info["top_tokens"]]
    assert info.get("model_name") == ("mixtral" if kind == "datacrunch" else "container")
    streamed = last_info(llm, "one two", seed=18_446_744_073_709_551_615)
    assert streamed.pop("input_length") == 2
    assert streamed == {name: fact for name, fact in info.items() if name != "prefill"}


def test_datacrunch_gives_the_other_answers_of_best_of(make: Callable[..., Any], sandbox: Sandbox) -> None:
    llm = make("datacrunch", best_of=2, temperature=0.7)
    info = whole_info(llm, "one two")
    (other,) = info["best_of_sequences"]
    assert (other["generated_text"], other["finish_reason"], other["generated_tokens"]) == ("one two", "eos_token", 3)
    with pytest.raises(errors.InvalidRequestError, match=r"best_of=2 .*stream"):
        list(llm.stream("x"))
    with pytest.raises(errors.InvalidRequestError, match=r"best_of=2 .*stream"):
        make("datacrunch", best_of=2, temperature=0.7, streaming=True).invoke("x")
    with pytest.raises(errors.InvalidRequestError, match=r"best_of.*do_sample"):
        make("datacrunch", best_of=2).invoke("x")
    with pytest.raises(errors.InvalidRequestError, match=r"best_of.*seed"):
        llm.invoke("x", seed=3)


def test_datacrunch_without_details(make: Callable[..., Any], sandbox: Sandbox) -> None:
    llm = make("datacrunch", details=False)
    info = whole_info(llm, "one two")
    # What is left is what the headers say.
    assert info == {
        "model_name": "mixtral",
        "token_usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
    }
    assert last_info(llm, "one two") == {"model_name": "mixtral"}
    assert "".join(llm.stream("one two")) == "one two"


def test_datacrunch_finish_reasons_are_tgis_words(make: Callable[..., Any], sandbox: Sandbox) -> None:
    llm = make("container")
    assert whole_info(llm, "one two three", max_tokens=2)["finish_reason"] == "length"
    assert last_info(llm, "one two three", max_tokens=2)["finish_reason"] == "length"
    assert whole_info(llm, "one two three", stop=["two"])["tgi_finish_reason"] == "stop_sequence"
    assert last_info(llm, "one two three", stop=["two"])["tgi_finish_reason"] == "stop_sequence"


def test_datacrunch_sends_only_what_is_set(make: Callable[..., Any], sandbox: Sandbox) -> None:
    make("datacrunch").invoke("Hi")
    assert sandbox.last_request.json == {
        "model": "mixtral",
        "inputs": "Hi",
        "parameters": {"max_new_tokens": 512, "details": True},
    }
    make("container").invoke("Hi")
    assert "model" not in sandbox.last_request.json
    fields = {
        "do_sample": True,
        "top_k": 5,
        "top_p": 0.9,
        "typical_p": 0.8,
        "repetition_penalty": 1.1,
        "frequency_penalty": 0.5,
        "seed": 7,
        "truncate": 100,
        "watermark": True,
        "return_full_text": False,
        "decoder_input_details": True,
        "top_n_tokens": 2,
        "adapter_id": "mine",
        "temperature": 0.5,
    }
    make("container", **fields, max_tokens=20, stop=["END"]).invoke("Hi")
    assert sandbox.last_request.json["parameters"] == {
        "max_new_tokens": 20,
        "details": True,
        "stop": ["END"],
        **fields,
    }


def test_datacrunch_greedy_is_left_out(make: Callable[..., Any], sandbox: Sandbox) -> None:
    make("container", temperature=0, top_p=1, typical_p=1.0).invoke("Hi")
    assert sandbox.last_request.json["parameters"] == {"max_new_tokens": 512, "details": True}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"temperature": -1}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": 0}, "top_k"),
        ({"seed": -1}, "seed"),
        ({"stop": list("abcde")}, "stop.*extra_body"),
        ({"grammar": {"type": "yaml", "value": "x"}}, "grammar"),
    ],
)
def test_datacrunch_refuses_before_sending(
    make: Callable[..., Any], sandbox: Sandbox, fields: dict[str, Any], names: str
) -> None:
    with pytest.raises(errors.InvalidRequestError, match=names):
        make("datacrunch", **fields).invoke("x")
    with pytest.raises(errors.InvalidRequestError, match=names):
        list(make("datacrunch", **fields).stream("x"))
    assert len(sandbox.requests) == 0


async def test_special_tokens_and_stop_texts_are_not_shown(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(["Yes", ".\nHu", "man", ": no"]))
    llm = make("container", stop=["\nHuman:"])
    assert llm.invoke("x") == "Yes."
    assert "".join(llm.stream("x")) == "Yes."
    assert "".join([piece async for piece in llm.astream("x")]) == "Yes."
    assert sandbox.last_request.json["parameters"]["stop"] == ["\nHuman:"]
    streaming = make("container", stop=["\nHuman:"], streaming=True)
    assert streaming.invoke("x") == "Yes."
    # Another client sent it twice.
    assert sandbox.last_request.json["parameters"]["stop"] == ["\nHuman:"]
    assert make("container").invoke("x") == "Yes.\nHuman: no"
    assert "".join(make("container").stream("x")) == "Yes.\nHuman: no"


def test_the_prompt_before_the_answer_if_wanted(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(" and so on", when="Once")
    llm = make("datacrunch", return_full_text=True)
    assert llm.invoke("Once") == "Once and so on"
    assert "".join(llm.stream("Once")) == "Once and so on"


@pytest.mark.parametrize("route", ["", "/generate", "/generate_stream"])
def test_one_base_url_serves_both_calls(make: Callable[..., Any], sandbox: Sandbox, route: str) -> None:
    for kind in ("datacrunch", "container"):
        url = getattr(sandbox, "datacrunch_url" if kind == "datacrunch" else "tgi_url")
        llm = make(kind, base_url=f"{url}{route}")
        assert llm.invoke("x") == "x"
        assert "".join(llm.stream("x")) == "x"


def test_lists_of_one_are_answers(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(body=[{"generated_text": "one", "details": {"finish_reason": "stop"}}]))
    info = make("container").generate(["x"]).generations[0][0]
    assert (info.text, info.generation_info) == (
        "one",
        {"finish_reason": "stop", "model_name": "container"},
    )


# ------------------------------------------------------------------ both


async def test_usage_of_several_prompts_is_added_up(llm: Any, kind: str) -> None:
    for result in (llm.generate(["one", "two three"]), await llm.agenerate(["one", "two three"])):
        usage = result.llm_output["token_usage"]
        each = [found[0].generation_info["token_usage"] for found in result.generations]
        assert usage == {name: sum(counts[name] for counts in each) for name in COUNTS}
        assert usage["prompt_tokens"] == 3
        assert result.llm_output.get("model_name") == {"llm_engine": "llama-2-7b", "datacrunch": "mixtral"}.get(
            kind, "container"
        )
        assert result.llm_output["model_provider"] == ("llm_engine" if kind == "llm_engine" else "datacrunch")


async def test_infos_survive_the_merging_of_chunks(llm: Any) -> None:
    whole: GenerationChunk | None = None
    async for chunk in llm._astream("one two three"):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert whole.text == "one two three"
    assert (whole.generation_info or {}) == {
        **last_info(llm, "one two three"),
        **{
            name: (whole.generation_info or {})[name]
            for name in ("request_id", "seed")
            if name in (whole.generation_info or {})
        },
    }


def test_traces_know_the_model(make: Callable[..., Any], kind: str) -> None:
    llm = make(kind, temperature=0.5, stop=["END"])
    params = llm._get_ls_params(model="other", max_tokens=9)
    assert params["ls_provider"] == ("llm_engine" if kind == "llm_engine" else "datacrunch")
    assert (params["ls_model_type"], params["ls_model_name"]) == ("llm", "other")
    assert (params["ls_temperature"], params["ls_max_tokens"], params["ls_stop"]) == (0.5, 9, ["END"])
    assert llm._get_ls_params(max_new_tokens=7)["ls_max_tokens"] == 7
    assert (llm.metadata or {})["lc_versions"]["linkspan"]
    assert llm._llm_type == ("llm-engine" if kind == "llm_engine" else "datacrunch")
