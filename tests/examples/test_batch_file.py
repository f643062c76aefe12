"""A batch over a file, run as a user runs it: failures are kept, few at once, and a run that was killed goes on."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from linkspan_sandbox import HTTPError, Reply, Rule, Stall, run
from tests.support.examples import run_example, start_example

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from linkspan_sandbox import RecordedRequest, Sandbox

NAME = "batch_file"


def where(service: Sandbox) -> dict[str, str]:
    return {"SCW_SECRET_KEY": service.api_key, "SCALEWAY_BASE_URL": service.scaleway_url}


def asked(requests: Iterable[RecordedRequest]) -> list[str]:
    return [request.json["messages"][-1]["content"] for request in requests]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def wait_for_lines(path: Path, count: int) -> None:
    """A file tells nobody that it has grown, so this looks again and again."""
    give_up = time.monotonic() + 60
    while path.read_text("utf-8").count("\n") < count:
        assert time.monotonic() < give_up, f"{count} lines were not written"
        time.sleep(0.01)


def test_a_run_that_is_killed_goes_on_and_keeps_failures(tmp_path: Path) -> None:
    without_arguments = start_example(NAME)
    questions, answers = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    lines = [{"id": f"q{number}", "question": f"Question {number}, café?"} for number in range(8)]
    questions.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    # In the order of the requests, which is not the file's.
    rules = [
        Rule("The first answer.", times=1),
        Rule(Reply(fault=HTTPError(400, message="no such talk")), times=1),
        Rule(Reply(fault=Stall(after=0)), times=3),
        Rule("So says the service."),
    ]
    with run(rules=rules) as service:
        first = start_example(NAME, str(questions), str(answers), "--at-once", "3", **where(service))
        hanging = service.requests.wait_for(5, timeout=60)[2:]
        wait_for_lines(answers, 2)
        first.kill()
        first.ended()
        assert all(request.wait_finished() and request.client_left for request in hanging)
        # Three hung: a sixth would have been answered.
        assert len(service.requests) == 5
        failed, answered = sorted(read(answers), key=lambda line: "answer" in line)
        assert answered["answer"] == "The first answer."
        assert failed["error"] == "InvalidRequestError"
        assert "no such talk" in failed["message"]
        assert service.api_key not in answers.read_text("utf-8")
        with answers.open("a", encoding="utf-8") as file:
            file.write('{"id": "q2", "answer": "cut sho')

        service.requests.clear()
        second = run_example(NAME, str(questions), str(answers), **where(service))
        assert second.returncode == 0, second.stderr
        assert "1 known already, 7 to ask" in second.stdout
        assert "7 answered, 0 failed" in second.stdout
        others = [line for line in lines if line["id"] != answered["id"]]
        assert sorted(asked(service.requests)) == [line["question"] for line in others]
        assert read(answers)[0] == answered
        assert sorted(line["id"] for line in read(answers)) == [line["id"] for line in lines]
        assert {line["answer"] for line in read(answers)[1:]} == {"So says the service."}
    alone = without_arguments.ended()
    assert alone.returncode == 0, alone.stderr
    assert alone.stderr == ""
    for expected in ("0 known already, 6 to ask", "5 answered, 1 failed", "5 known already, 1 to ask", "1 answered"):
        assert expected in alone.stdout


def test_a_file_that_cannot_be_answered_is_refused(tmp_path: Path) -> None:
    questions = {
        "nameless": '{"id": 1, "question": "What?"}\n{"question": "Who?"}\n',
        "twice": '{"id": 1, "question": "What?"}\n{"id": 1, "question": "Who?"}\n',
    }
    processes = {}
    for name, text in questions.items():
        (tmp_path / name).write_text(text, "utf-8")
        processes[name] = start_example(NAME, str(tmp_path / name), str(tmp_path / f"{name}-answers"))
    said = {name: process.ended() for name, process in processes.items()}
    assert {outcome.returncode for outcome in said.values()} == {1}
    assert "question 2 must look like" in said["nameless"].stderr
    assert "ids must be unique" in said["twice"].stderr
