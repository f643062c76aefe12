"""Log probabilities of a streamed answer that a stop text cuts: those of the whole answer, in both frameworks."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.both.subjects import SUBJECTS, Subject

ENGINES = [subject for subject in SUBJECTS if subject.name == "LLMEngine"]
CASES = [
    # A tail that may begin a stop text waits; what comes behind it must not overtake it.
    (["a", "\n", "", "b"], ["\n\n"]),
    (["a", "\n", ""], ["\n\n"]),
    # A token is held back whose text becomes a part of the stop text.
    (["x", "x", "END", "more"], ["xEN"]),
    (["one", "E", "EN", "D"], ["END"]),
    (["one\n", "\n", "two"], ["\n\n"]),
    (["plain", "", " text"], ["STOP"]),
]


def _events(tokens: list[str]) -> bytes:
    outputs = [
        {
            "text": token,
            "finished": place == len(tokens) - 1,
            "num_completion_tokens": place + 1,
            "token": {"token": token, "log_prob": -float(place)},
        }
        for place, token in enumerate(tokens)
    ]
    return b"".join(b"data: " + json.dumps({"output": output}).encode() + b"\r\n\r\n" for output in outputs)


def _whole(tokens: list[str]) -> dict[str, Any]:
    scores = [{"token": token, "log_prob": -float(place)} for place, token in enumerate(tokens)]
    return {"output": {"text": "".join(tokens), "num_completion_tokens": len(tokens), "tokens": scores}}


def _asked(subject: Subject, model: Any) -> list[tuple[str, list[tuple[str, float]]]]:
    """Return the text and the log probabilities of a whole answer and of a streamed one."""
    if subject.framework == "langchain":
        whole, streamed = (model.model_copy(update={"streaming": on}).generate(["hi"]) for on in (False, True))
        found = [result.generations[0][0] for result in (whole, streamed)]
        return [
            (one.text, [(score["token"], score["logprob"]) for score in one.generation_info.get("logprobs") or ()])
            for one in found
        ]
    answer, chunks = model.complete("hi"), list(model.stream_complete("hi"))
    scores = [position for chunk in chunks for position in chunk.logprobs or ()]
    return [
        (text, [(position[0].token, position[0].logprob) for position in positions])
        for text, positions in ((answer.text, answer.logprobs or ()), (chunks[-1].text, scores))
    ]


@pytest.mark.parametrize("subject", ENGINES, ids=lambda subject: subject.id)
@pytest.mark.parametrize(("tokens", "stops"), CASES)
def test_a_stream_has_the_log_probabilities_of_the_whole(subject: Subject, tokens: list[str], stops: list[str]) -> None:
    def server(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("-stream"):
            return httpx.Response(200, content=_events(tokens), headers={"content-type": "text/event-stream"})
        return httpx.Response(200, json=_whole(tokens))

    model = subject.make(server, stop=stops, return_token_log_probs=True)  # type: ignore[arg-type]  # a transport's
    whole, streamed = _asked(subject, model)
    assert streamed == whole
