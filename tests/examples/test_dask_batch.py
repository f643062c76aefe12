"""A batch on a local Dask cluster: actors in processes of their own, failures kept, a second run that goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from linkspan_sandbox import HTTPError, Reply, Sandbox, run
from tests.support.examples import run_example

if TYPE_CHECKING:
    from pathlib import Path


def batch(questions: Path, answers: Path, sandbox: Sandbox, *options: str) -> str:
    outcome = run_example(
        *("dask_batch", str(questions), str(answers), "--rate", "500", *options),
        SCW_SECRET_KEY=sandbox.api_key,
        SCALEWAY_BASE_URL=sandbox.scaleway_url,
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_batch_keeps_its_failures_and_goes_on(tmp_path: Path) -> None:
    questions, answers = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    rows = [{"id": number, "question": f"Question {number}?"} for number in range(20)]
    rows[7]["question"] = "A forbidden question?"
    questions.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    answers.write_text('{"id": 0, "answer": "from an earlier run"}\n{"id": 1, "ans', "utf-8")
    with run() as sandbox:
        sandbox.add_rule(Reply(fault=HTTPError(400, message="no such talk")), when="forbidden")
        out = batch(questions, answers, sandbox)
        assert "19 to ask, 2 actors in 2 processes" in out
        assert "18 answered, 1 failed" in out
        kept = {row["id"]: row for row in read(answers)}
        assert kept.keys() == set(range(20))
        assert kept[0]["answer"] == "from an earlier run"
        assert kept[1]["answer"] == "Question 1?"
        assert kept[7]["error"] == "InvalidRequestError"
        assert "no such talk" in kept[7]["message"]
        assert sandbox.api_key not in answers.read_text("utf-8")

        sandbox.reset()
        assert "1 answered, 0 failed" in batch(questions, answers, sandbox, "--workers", "1")
        assert [request.json["messages"][-1]["content"] for request in sandbox.requests] == ["A forbidden question?"]
        assert read(answers)[-1]["answer"] == "A forbidden question?"
        assert "all questions are answered" in batch(questions, answers, sandbox)
