"""The FastAPI example: it streams to its readers, and the service sees the stream closed where a reader leaves."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan_sandbox import HTTPError, Reply, Sandbox, Stall
from tests.examples.browser import browser, is_required, missing
from tests.support.examples import start_afresh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from linkspan_sandbox import RecordedRequest

QUESTION = {"question": "When does the next ferry to Ostra leave?"}
#: A model that has begun, and thinks.
THINKING = Reply(["The ferry", " leaves", " at nine."], fault=Stall(after=2))
#: A model that would go on for a minute.
TALKATIVE = Reply(["and the sea "] * 6000, pause=0.01)


@contextmanager
def serving(**environment: str) -> Iterator[str]:
    """Run the example, and return where it is."""
    process = start_afresh("fastapi_stream/app", "--port", "0", **environment)
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"running on (http://\S+)", line):
                yield found[1]
                return
        raise AssertionError("it did not start:\n" + "".join(lines))
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def service(sandboxes: Callable[..., Sandbox]) -> Sandbox:
    return sandboxes(api_key="the-key-of-the-example")


@pytest.fixture(scope="module")
def example(service: Sandbox) -> Iterator[str]:
    with serving(SCW_SECRET_KEY=service.api_key, SCALEWAY_BASE_URL=service.scaleway_url) as url:
        yield url


@pytest.fixture(autouse=True)
def _fresh(service: Sandbox) -> None:
    service.reset()


def events_of(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def ask(url: str) -> list[tuple[str, dict[str, Any]]]:
    with httpx.stream("POST", f"{url}/ask", json=QUESTION, timeout=60, verify=False) as answer:
        return list(events_of(answer))


def content(text: str) -> str:
    """An event of a Chat Completions stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


def was_abandoned(request: RecordedRequest) -> bool:
    return request.wait_finished() and request.client_left


def test_it_streams_pieces_then_usage(service: Sandbox, example: str) -> None:
    service.add_rule(Reply("At nine,\nfrom quay 3."))
    with httpx.stream("POST", f"{example}/ask", json=QUESTION, timeout=60, verify=False) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = list(events_of(answer))
    assert "".join(data["text"] for name, data in events if name == "piece") == "At nine,\nfrom quay 3."
    assert [name for name, _ in events] == ["piece"] * 5 + ["done"]
    assert events[-1][1] == {"output_tokens": 5}
    assert service.last_request.json["messages"][-1] == {"role": "user", "content": QUESTION["question"]}


@pytest.mark.parametrize("reply", [THINKING, TALKATIVE], ids=["between two pieces", "among many pieces"])
def test_it_stops_when_the_reader_leaves(service: Sandbox, example: str, reply: Reply) -> None:
    service.add_rule(reply, times=1)
    with httpx.stream("POST", f"{example}/ask", json=QUESTION, timeout=60, verify=False) as answer:
        events = events_of(answer)
        assert [next(events)[0], next(events)[0]] == ["piece", "piece"]
        assert not service.last_request.finished
    assert was_abandoned(service.last_request)
    # And it serves the next one.
    assert ask(example)[-1][0] == "done"


def test_a_reader_that_takes_nothing_more_is_let_go_of_too(service: Sandbox, example: str) -> None:
    # Its buffers full, the answer waits for the reader and not for the model: a gigabyte fits into none. The pauses let
    # the server's event loop hear that the client has left: what it sends after that goes nowhere at once.
    service.add_rule(Reply(events=[content("x" * 100_000)] * 10_000, pause=0.001), times=1)
    with httpx.stream("POST", f"{example}/ask", json=QUESTION, timeout=60, verify=False) as answer:
        assert next(events_of(answer))[0] == "piece"
        assert not service.last_request.finished
    assert was_abandoned(service.last_request)


def test_failures_are_told_as_events(service: Sandbox, example: str) -> None:
    service.add_rule(Reply(fault=HTTPError(401)), times=1)
    assert ask(example) == [("failed", {"error": "AuthenticationError", "retryable": False})]
    assert httpx.post(f"{example}/ask", json={"question": ""}, verify=False).status_code == 422


def test_without_a_key_it_runs_against_the_sandbox() -> None:
    with serving() as url:
        page = httpx.get(url, timeout=60, verify=False)
        assert page.headers["content-type"].startswith("text/html")
        with httpx.stream("POST", f"{url}/ask", json=QUESTION, timeout=60, verify=False) as answer:
            events = events_of(answer)
            assert [next(events)[1]["text"] for _ in range(3)] == ["The", " ferry", " to"]


@pytest.mark.skipif(missing() is not None and not is_required(), reason=f"a browser is needed: {missing()}")
def test_in_a_browser_it_streams_and_stops_when_the_page_is_left(
    service: Sandbox, example: str, tmp_path: Path
) -> None:
    service.add_rule(Reply("At <b>nine</b>, from quay 3."), times=1)
    service.add_rule(Reply(fault=HTTPError(403)), times=1)
    service.add_rule(THINKING)
    with browser(tmp_path) as window:
        window.open(example)
        window.click("#ask")
        assert window.text_with("#state", "done") == "done: 5 tokens"
        assert window.text_with("#answer", "quay") == "At <b>nine</b>, from quay 3."
        window.click("#ask")
        assert window.text_with("#state", "failed") == "failed: PermissionDeniedError"

        def stop() -> None:
            window.click("#stop")
            assert window.text_with("#state", "stopped") == "stopped"

        def go_elsewhere() -> None:
            window.open("about:blank")

        for leave in (stop, go_elsewhere, window.close_tab):
            window.open(example)
            window.click("#ask")
            # The model has not finished, and the page shows what it said so far.
            assert window.text_with("#answer", "leaves") == "The ferry leaves"
            abandoned = service.last_request
            assert not abandoned.finished
            leave()
            assert was_abandoned(abandoned)
