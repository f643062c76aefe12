"""``linkspan chat``, ``models`` and ``doctor`` as a user types them."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from linkspan.commands import app
from linkspan_sandbox import HTTPError, Reply, Sandbox
from tests.commands.conftest import KEY

LINKSPAN = [sys.executable, "-c", "from linkspan.cli import main; main()"]
SCALEWAY = ["scaleway", "--model", "llama-3.3-70b-instruct"]


def linkspan(*arguments: str, stdin: str | None = None) -> Result:
    outcome = CliRunner().invoke(app, list(arguments), input=stdin)
    assert KEY not in outcome.output
    return outcome


def as_json(outcome: Result) -> Any:
    return json.loads(outcome.stdout)


# ------------------------------------------------------------------ chat


@pytest.mark.parametrize(
    "target",
    [
        SCALEWAY,
        ["gray-swan"],
        ["llm-engine", "--model", "llama-3-8b-instruct"],
        ["llm-engine", "--model", "llama-2-7b", "--template", "llama-2"],
        ["datacrunch"],
        ["datacrunch", "--template", "mistral"],
    ],
    ids=" ".join,
)
def test_chat_answers_one_question(sandbox: Sandbox, target: list[str]) -> None:
    sandbox.add_rule(Reply(text=["A bridge", " for ferries."]))
    outcome = linkspan("chat", *target, "What is a linkspan?")
    assert (outcome.exit_code, outcome.output) == (0, "A bridge for ferries.\n")


def test_chat_takes_its_question_from_a_pipe_and_answers_in_json(sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(reasoning=["Hm."], text=["Nine."]))
    outcome = linkspan("chat", *SCALEWAY, "--json", "--temperature", "0", "--max-tokens", "9", stdin="When?")
    answer = as_json(outcome)
    assert (outcome.exit_code, answer["text"], answer["reasoning"]) == (0, "Nine.", "Hm.")
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["output_tokens"] > 0
    body = sandbox.requests[-1].json
    assert body["messages"] == [{"role": "user", "content": "When?"}]
    assert (body["temperature"], body["max_tokens"]) == (0, 9)


def test_a_failed_call_ends_with_1(sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(400, message="the prompt is odd")))
    outcome = linkspan("chat", *SCALEWAY, "Hello")
    assert outcome.exit_code == 1
    assert "the prompt is odd" in outcome.output
    told = linkspan("chat", *SCALEWAY, "--json", "Hello")
    assert told.exit_code == 1
    assert as_json(told)["error"] == "InvalidRequestError"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["scaleway", "Hello"], "llama-3.3-70b-instruct"),
        (["llm-engine", "Hello"], "linkspan models llm-engine"),
        (["gray-swan", "--template", "llama-2", "Hello"], "chats by itself"),
        (["gray-swan", "--project-id", "p", "Hello"], "Scaleway's"),
        (["llm-engine", "--model", "x", "--template", "lama-2", "Hello"], "llama-2"),
        ([*SCALEWAY, "--json"], "the question is empty"),
    ],
)
def test_what_cannot_be_asked_ends_with_2(sandbox: Sandbox, arguments: list[str], says: str) -> None:
    outcome = linkspan("chat", *arguments)
    assert outcome.exit_code == 2
    assert says in outcome.output
    assert not list(sandbox.requests)


def test_a_missing_key_is_named(no_apis: None) -> None:
    outcome = linkspan("chat", *SCALEWAY, "Hello")
    assert outcome.exit_code == 2
    assert "SCW_SECRET_KEY" in outcome.output


def test_a_conversation_keeps_its_turns(sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(text=["First answer."]), times=1)
    sandbox.add_rule(Reply(text=["Second answer."]), times=1)
    terminal, theirs = pty.openpty()
    command = [*LINKSPAN, "chat", *SCALEWAY, "--system", "Be brief."]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ) as process:
        os.close(theirs)
        read_until(terminal, "you>")
        os.write(terminal, b"One?\n")
        assert "First answer." in read_until(terminal, "you>")
        os.write(terminal, b"Two?\n")
        assert "Second answer." in read_until(terminal, "you>")
        os.write(terminal, b"\x04")
        assert process.wait(timeout=60) == 0
    os.close(terminal)
    roles = [(turn["role"], turn["content"]) for turn in sandbox.requests[-1].json["messages"]]
    assert roles == [
        ("system", "Be brief."),
        ("user", "One?"),
        ("assistant", "First answer."),
        ("user", "Two?"),
    ]


def read_until(terminal: int, text: str) -> str:
    seen = b""
    while text.encode() not in seen:
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, f"{text!r} did not come; so far: {seen!r}"
        seen += os.read(terminal, 4096)
    return seen.decode()


# ------------------------------------------------------------------ models


def test_models_lists_what_the_api_has_beside_the_catalogue(sandbox: Sandbox) -> None:
    outcome = linkspan("models", "scaleway")
    assert outcome.exit_code == 0
    assert "listed by the API" in outcome.output
    assert "llama-3.3-70b-instruct" in outcome.output
    rows = as_json(linkspan("models", "scaleway", "--json"))["models"]
    (row,) = [row for row in rows if row["id"] == "llama-3.3-70b-instruct"]
    assert row["listed"] is True
    assert row["tools"] is True
    assert row["context_window"] > 10_000


def test_models_of_llm_engine_are_endpoints(sandbox: Sandbox) -> None:
    outcome = linkspan("models", "llm-engine")
    assert outcome.exit_code == 0
    assert "vllm" in outcome.output
    rows = as_json(linkspan("models", "llm-engine", "--json"))["models"]
    assert {"llama-2-7b", "flan-t5-xxl"} <= {row["id"] for row in rows}


def test_models_offline_asks_nobody(sandbox: Sandbox) -> None:
    outcome = linkspan("models", "scaleway", "--offline", "--json")
    assert outcome.exit_code == 0
    assert {row["listed"] for row in as_json(outcome)["models"]} == {None}
    assert not list(sandbox.requests)


def test_models_that_cannot_be_asked_are_the_catalogues_and_an_error(no_apis: None) -> None:
    outcome = linkspan("models", "scaleway", "--json")
    told = as_json(outcome)
    assert outcome.exit_code == 1
    assert "SCW_SECRET_KEY" in told["error"]
    assert told["models"]
    assert "no list" in linkspan("models", "gray-swan").output


# ------------------------------------------------------------------ doctor


def states(outcome: Result) -> dict[str, str]:
    return {api["api"]: api["state"] for api in as_json(outcome)["apis"]}


def test_doctor_finds_everything_well(sandbox: Sandbox) -> None:
    outcome = linkspan("doctor", "--json")
    assert outcome.exit_code == 0
    assert set(states(outcome).values()) == {"ok"}
    assert as_json(outcome)["packages"]["linkspan"] == "0.1.0"
    shown = linkspan("doctor")
    assert "SCW_SECRET_KEY is set" in shown.output
    assert f"{sandbox.scaleway_url}  (SCALEWAY_BASE_URL)" in shown.output


def test_doctor_says_what_is_missing(no_apis: None) -> None:
    outcome = linkspan("doctor", "--json")
    assert outcome.exit_code == 0
    assert set(states(outcome).values()) == {"not set up"}
    assert "LLM_ENGINE_BASE_PATH" in linkspan("doctor").output


def test_doctor_offline_asks_nobody(sandbox: Sandbox) -> None:
    outcome = linkspan("doctor", "--offline", "--json")
    assert (outcome.exit_code, set(states(outcome).values())) == (0, {"not asked"})
    assert not list(sandbox.requests)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("SCW_SECRET_KEY", "wrong-key-0123456", "Scaleway answers 403 to a wrong key"),
        ("SCALEWAY_BASE_URL", "http://127.0.0.1:9/v1", "No connection"),
        ("SCALEWAY_BASE_URL", "{sandbox}/elsewhere", "not this API"),
        ("SCALEWAY_BASE_URL", "no-url", "base_url"),
    ],
)
def test_doctor_explains_each_failure(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value.format(sandbox=sandbox.url))
    outcome = linkspan("doctor", "--json")
    assert outcome.exit_code == 1
    assert states(outcome) == {"scaleway": "failed", "gray-swan": "ok", "llm-engine": "ok", "datacrunch": "ok"}
    assert says in as_json(outcome)["apis"][0]["explanation"]
    assert value.format(sandbox=sandbox.url) not in outcome.output or variable != "SCW_SECRET_KEY"


def test_doctor_does_not_fail_on_the_legacy_address(no_apis: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no route that costs nothing, and no chat template is needed to say so."""
    monkeypatch.setenv("DATACRUNCH_API_KEY", KEY)
    for address in ("", "https://INFERENCE.datacrunch.io/v1/completions", "https://inference.datacrunch.io/generate"):
        monkeypatch.setenv("DATACRUNCH_BASE_URL", address)
        outcome = linkspan("doctor", "--json")
        found = {finding["api"]: finding for finding in as_json(outcome)["apis"]}["datacrunch"]
        assert (outcome.exit_code, found["state"]) == (0, "ok")
        assert found["explanation"].startswith("Not asked: the legacy address")


def test_doctor_shows_no_key_in_an_address(no_apis: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATACRUNCH_BASE_URL", f"https://user:{KEY}@tgi.example/a")
    monkeypatch.setenv("LLM_ENGINE_BASE_PATH", f"https://engine.example?key={KEY}")
    for arguments in (["--offline"], ["--offline", "--json"], [], ["--json"]):
        outcome = linkspan("doctor", *arguments)  # which looks for the key
        assert "https://tgi.example/a" in outcome.output
        assert "https://engine.example" in outcome.output


def test_models_of_the_legacy_address_cannot_be_listed(no_apis: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATACRUNCH_API_KEY", KEY)
    outcome = linkspan("models", "datacrunch", "--json")
    assert outcome.exit_code == 1
    assert as_json(outcome)["error"].startswith("The legacy address has no list of models")


def test_a_port_that_is_none_is_named(no_apis: None) -> None:
    outcome = linkspan("sandbox", "--engine", "scripted", "--port", "99999")
    assert outcome.exit_code == 1
    assert "port must be 0 to 65535, not 99999" in outcome.output
