"""``linkspan models`` and ``linkspan doctor`` as a user types them."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from linkspan.commands import app
from tests.commands.conftest import KEY
from tests.support.loopback import LoopbackServer, http

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

LINKSPAN = [sys.executable, "-c", "from linkspan.cli import main; main()"]
SCALEWAY = ["scaleway", "--model", "llama-3.3-70b-instruct"]


def linkspan(*arguments: str, stdin: str | None = None) -> Result:
    outcome = CliRunner().invoke(app, list(arguments), input=stdin)
    assert KEY not in outcome.output
    return outcome


def as_json(outcome: Result) -> Any:
    return json.loads(outcome.stdout)


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


# ------------------------------------------------------------------ what reaches a terminal

#: Sets the title, clears the screen, writes the clipboard; a C1 introducer; text turned around.
HOSTILE = "\x1b]0;title\x07\x1b[2J\x1b]52;c;ZXZpbA==\x07\x9b2J\x7f\x08\r\u202eabc"


@pytest.mark.parametrize(
    "arguments", [["models", "scaleway"], ["models", "scaleway", "--json"], ["doctor"], ["doctor", "--json"]]
)
@pytest.mark.parametrize("kind", ["names", "errors"])
def test_nothing_a_server_says_steers_the_terminal(
    no_apis: None, monkeypatch: pytest.MonkeyPatch, arguments: list[str], kind: str
) -> None:
    monkeypatch.setenv("SCW_SECRET_KEY", KEY)
    names = {"object": "list", "data": [{"id": f"model{HOSTILE}", "object": "model", "owned_by": HOSTILE}]}
    refusal = {"error": {"message": f"refused{HOSTILE}", "type": HOSTILE}}
    answer = http(200, json.dumps(names).encode()) if kind == "names" else http(400, json.dumps(refusal).encode())
    with LoopbackServer() as server:
        monkeypatch.setenv("SCALEWAY_BASE_URL", f"http://127.0.0.1:{server.port}")
        server.answer(answer)
        printed = linkspan(*arguments).output
    assert "refused" in printed or "model" in printed or arguments[0] == "doctor"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", printed)
