"""``linkspan models`` and ``linkspan doctor`` as a user types them."""

from __future__ import annotations

import inspect
import io
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from linkspan.commands import app
from linkspan_sandbox import Cut, Reply
from tests.commands.conftest import KEY
from tests.support.loopback import LoopbackServer, http

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan_sandbox import Sandbox

LINKSPAN = [sys.executable, "-c", "from linkspan.cli import main; main()"]
#: Before 8.2, click's runner mixes both outputs unless it is told not to.
APART: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
SCALEWAY = ["scaleway", "--model", "llama-3.3-70b-instruct"]


def linkspan(*arguments: str, stdin: str | None = None) -> Result:
    outcome = CliRunner(**APART).invoke(app, list(arguments), input=stdin)
    assert KEY not in outcome.stdout + outcome.stderr
    return outcome


def as_json(outcome: Result) -> Any:
    return json.loads(outcome.stdout)


# ------------------------------------------------------------------ models


def lines_of(outcome: Result) -> list[dict[str, str]]:
    """The table that a pipe gets, row by row."""
    heading, *rows = (line.split("\t") for line in outcome.stdout.splitlines())
    return [dict(zip(heading, row, strict=True)) for row in rows]


def test_models_lists_what_the_api_has_beside_the_catalogue(sandbox: Sandbox) -> None:
    outcome = linkspan("models", "scaleway")
    assert outcome.exit_code == 0
    assert "listed by the API" in outcome.stderr
    assert "llama-3.3-70b-instruct" in {row["model"] for row in lines_of(outcome)}
    rows = as_json(linkspan("models", "scaleway", "--json"))["models"]
    (row,) = [row for row in rows if row["id"] == "llama-3.3-70b-instruct"]
    assert row["listed"] is True
    assert row["tools"] is True
    assert row["context_window"] > 10_000


def test_in_a_pipe_every_name_and_number_is_whole(no_apis: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rows = {row["model"]: row for row in lines_of(linkspan("models", "scaleway", "--offline"))}
    assert rows["qwen3.6-35b-a3b"]["context_window"] == "262144"
    assert rows["mistral-small-3.2-24b-instruct-2506"]["abilities"] == "vision,tools"
    assert not any(value.endswith("…") for row in rows.values() for value in row.values())


def test_retired_models_are_shown_when_asked_for(no_apis: None) -> None:
    usual = linkspan("models", "scaleway", "--offline")
    assert "retired" not in {row["status"] for row in lines_of(usual)}
    assert "retired models are not shown; --all shows them" in usual.stderr
    everything = linkspan("models", "scaleway", "--offline", "--all")
    assert "retired" in {row["status"] for row in lines_of(everything)}
    assert "not shown" not in everything.stderr


@pytest.mark.parametrize("columns", [80, 60])
def test_the_table_fits_the_terminal_and_cuts_nothing(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from linkspan.commands import console
    from linkspan.commands.apis import Address, ProviderName
    from linkspan.commands.models import show_models

    screen = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=screen, force_terminal=True, width=columns, color_system=None))
    assert show_models(ProviderName.SCALEWAY, Address(), offline=True, show_all=False, as_json=False) == 0
    shown = screen.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in shown) <= columns
    assert "…" not in screen.getvalue()
    if columns == 80:
        assert any(line.startswith("mistral-small-3.2-24b-instruct-2506 ") for line in shown)


def test_models_of_llm_engine_are_endpoints(sandbox: Sandbox) -> None:
    outcome = linkspan("models", "llm-engine")
    assert outcome.exit_code == 0
    assert "vllm" in {row["framework"] for row in lines_of(outcome)}
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


@pytest.fixture
def others(no_apis: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    """A server that is the address of all APIs."""
    with LoopbackServer() as server:
        for name in ("SCALEWAY_BASE_URL", "LLM_ENGINE_BASE_PATH", "DATACRUNCH_BASE_URL"):
            monkeypatch.setenv(name, server.url)
        yield server


def test_models_say_that_the_api_did_not_list_them(others: LoopbackServer) -> None:
    others.always(http(403, b'{"status": 403, "error": "FORBIDDEN", "message": "no"}'))
    outcome = linkspan("models", "scaleway")
    assert outcome.exit_code == 1
    assert "from linkspan's catalogue; the API did not list them" in outcome.stderr


@pytest.mark.parametrize("api", ["scaleway", "llm-engine", "datacrunch"])
def test_an_empty_list_is_said(others: LoopbackServer, api: str) -> None:
    others.always(http(body=b'{"data": [], "model_endpoints": []}'))
    outcome = linkspan("models", api)
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert "0 models, listed by the API" in outcome.stderr


def test_without_list_and_catalogue_there_are_none(no_apis: None) -> None:
    outcome = linkspan("models", "datacrunch", "--offline")
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert "0 models, from linkspan's catalogue; the API was not called" in outcome.stderr


@pytest.mark.parametrize(
    ("provider", "api"),
    [("llm-engine", "v1"), ("llm-engine", "v2"), ("datacrunch", "generate"), ("datacrunch", "messages")],
)
def test_the_list_needs_no_chat_template(sandbox: Sandbox, provider: str, api: str) -> None:
    outcome = linkspan("models", provider, "--api", api)
    assert outcome.exit_code == 0
    assert lines_of(outcome)


def test_the_servers_window_is_shown(others: LoopbackServer) -> None:
    others.always(http(body=b'{"data": [{"id": "any", "max_model_len": 12345}]}'))
    assert lines_of(linkspan("models", "datacrunch"))[0]["context_window"] == "12345"
    assert as_json(linkspan("models", "datacrunch", "--json"))["models"][0]["context_window"] == 12345


def test_a_page_is_no_api(others: LoopbackServer) -> None:
    others.always(http(body=b"<!DOCTYPE html><title>Sign in</title>"))
    outcome = linkspan("doctor", "--json")
    assert outcome.exit_code == 1
    assert {name for name, state in states(outcome).items() if state == "failed"} == {
        "scaleway",
        "llm-engine",
        "datacrunch",
    }
    assert all("HTML page" in api["explanation"] for api in as_json(outcome)["apis"] if api["base_url"] == others.url)


def test_verdas_gateway_is_asked_for_its_list(others: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linkspan.providers.datacrunch.provider._GATEWAY", "127.0.0.1")
    others.always(http(body=b'{"data": [{"id": "a", "max_model_len": 1}], "model_endpoints": []}'))
    assert states(linkspan("doctor", "--json"))["datacrunch"] == "ok"
    assert "/v1/models" in [request.path for request in others.requests]
    assert "/health" not in [request.path for request in others.requests]
    for arguments in ([], ["--api", "openai"]):
        assert lines_of(linkspan("models", "datacrunch", *arguments))[0]["model"] == "a"


def test_models_of_an_api_without_a_list_are_the_catalogues(no_apis: None) -> None:
    outcome = linkspan("models", "gray-swan")
    assert outcome.exit_code == 0
    assert "the API has no list" in outcome.stderr
    assert "cygnet" in {row["model"] for row in lines_of(outcome)}


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
        ("SCW_SECRET_KEY", "wrong-key-0123456", "Scaleway also answers 403 to a wrong key"),
        ("SCALEWAY_BASE_URL", "http://127.0.0.1:9/v1", "No connection"),
        ("SCALEWAY_BASE_URL", "{sandbox}/elsewhere", "not this API"),
        ("SCALEWAY_BASE_URL", "no-url", "SCALEWAY_BASE_URL 'no-url' has no scheme"),
    ],
)
def test_doctor_explains_each_failure(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value.format(sandbox=sandbox.url))
    outcome = linkspan("doctor", "--json")
    assert outcome.exit_code == 1
    assert states(outcome) == {"scaleway": "failed", "gray-swan": "ok", "llm-engine": "ok", "datacrunch": "ok"}
    explanation = as_json(outcome)["apis"][0]["explanation"]
    assert says in explanation
    assert explanation.endswith(".")
    assert "base_url" not in explanation
    assert value.format(sandbox=sandbox.url) not in outcome.stdout + outcome.stderr or variable != "SCW_SECRET_KEY"


def test_doctor_does_not_fail_on_the_legacy_address(no_apis: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no route that costs nothing, and no chat template is needed to say so."""
    monkeypatch.setenv("DATACRUNCH_API_KEY", KEY)
    for address in ("", "https://INFERENCE.datacrunch.io/v1/completions", "https://inference.datacrunch.io/generate"):
        monkeypatch.setenv("DATACRUNCH_BASE_URL", address)
        outcome = linkspan("doctor", "--json")
        found = {finding["api"]: finding for finding in as_json(outcome)["apis"]}["datacrunch"]
        assert (outcome.exit_code, found["state"]) == (0, "ok")
        assert found["explanation"].startswith("Not called: the legacy address")


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
    assert outcome.exit_code == 2
    assert "65535" in outcome.stderr


# ------------------------------------------------------------------ chat


def test_chat_streams_the_answer_alone_to_standard_output(sandbox: Sandbox) -> None:
    sandbox.add_rule("Because of friction.", when="lag")
    outcome = linkspan("chat", "scaleway", "-m", "gpt-oss-120b", "Why do tides", "lag?")
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "Because of friction.\n", "")
    assert sandbox.last_request.json["stream"] is True


def test_chat_puts_what_is_piped_in_behind_the_question(sandbox: Sandbox) -> None:
    arguments = ["chat", "scaleway", "-m", "gpt-oss-120b", "-s", "Be brief.", "Summarise"]
    assert linkspan(*arguments, stdin="A long text.\n").exit_code == 0
    assert [message["content"] for message in sandbox.last_request.json["messages"]] == [
        "Be brief.",
        "Summarise\n\nA long text.",
    ]
    assert linkspan("chat", "gray-swan", stdin="All of it").stdout == "All of it\n"


def test_chat_without_a_question_is_a_wrong_command(sandbox: Sandbox) -> None:
    outcome = linkspan("chat", "gray-swan", stdin="")
    assert outcome.exit_code == 2
    assert "Ask something" in outcome.stderr
    assert not list(sandbox.requests)


def test_chat_says_that_the_limit_cut_the_answer(sandbox: Sandbox) -> None:
    sandbox.add_rule("one two three four")
    outcome = linkspan("chat", "gray-swan", "--max-tokens", "2", "Count")
    assert (outcome.exit_code, outcome.stdout) == (0, "one two\n")
    assert "raise --max-tokens" in outcome.stderr


def test_chat_keeps_what_came_before_a_stream_broke(sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply("one two three", fault=Cut(after=2)))
    outcome = linkspan("chat", "gray-swan", "Count")
    assert (outcome.exit_code, outcome.stdout) == (1, "one two\n")
    assert "The call failed" in outcome.stderr


@pytest.mark.parametrize("api", ["openai", "messages"])
def test_chat_reaches_every_kind_of_container(sandbox: Sandbox, api: str) -> None:
    address = sandbox.vllm_url if api == "openai" else sandbox.tgi_url
    outcome = linkspan("chat", "datacrunch", "--base-url", address, "--api", api, "Hello")
    assert (outcome.exit_code, outcome.stdout) == (0, "Hello\n")
    if api == "openai":
        listed = linkspan("models", "datacrunch", "--base-url", address, "--api", api)
        assert "sandbox" in {row["model"] for row in lines_of(listed)}


@pytest.mark.parametrize(
    "arguments",
    [
        ["chat", "scaleway", "-m", "gpt-oss-120b", "Hello"],
        ["chat", "llm-engine", "-m", "llama", "Hello"],
        ["chat", "datacrunch", "Hello"],
        ["chat", "datacrunch", "--base-url", "https://api.verda.com", "Hello"],
        ["chat", "datacrunch", "--base-url", "https://inference.verda.com/v1", "--api", "messages", "Hello"],
        ["chat", "gray-swan", "--base-url", "ftp://host", "Hello"],
        ["models", "scaleway", "--base-url", "https://host/v1", "--project-id", "p"],
    ],
    ids=" ".join,
)
def test_errors_speak_of_flags_and_variables(no_apis: None, arguments: list[str]) -> None:
    outcome = linkspan(*arguments)
    assert outcome.exit_code == 1
    assert "failed: " in outcome.stderr
    assert re.search(r"--[a-z]|[A-Z]+_[A-Z]+", outcome.stderr)
    assert not re.search(r"\b(api_key|base_url|project_id|max_tokens)\b|\b(model|api)=", outcome.stderr)
    offered = set(re.findall(r"--[a-z-]+", linkspan(arguments[0], "--help").stdout))
    assert set(re.findall(r"--[a-z-]+", outcome.stderr)) <= offered
    assert not re.search(r"--[a-z-]+[\"'\d]", outcome.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["chat", "scaleway", "Hello"],
        ["chat", "gray-swan", "--project-id", "p", "Hello"],
        ["chat", "gray-swan", "--api", "chat", "Hello"],
        ["chat", "datacrunch", "--api", "v1", "Hello"],
        ["models", "llm-engine", "--project-id", "p"],
        # The prompt API of another provider, which is no reason to list the models all the same.
        ["models", "scaleway", "--api", "v1"],
        ["models", "llm-engine", "--api", "generate"],
    ],
    ids=" ".join,
)
def test_options_that_do_not_suit_the_api_are_an_invalid_command_line(sandbox: Sandbox, arguments: list[str]) -> None:
    outcome = linkspan(*arguments)
    assert outcome.exit_code == 2
    assert re.search(r"failed: .*--(model|project-id|api) ?", outcome.stderr)
    assert not list(sandbox.requests)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chat", "datacrunch", "--api", "generate"], "in Python set chat_template"),
        (["chat", "llm-engine", "--api", "v1", "-m", "nobodys"], "in Python set chat_template"),
        (["chat", "gray-swan"], "in Python pass allow_insecure_http=True"),
    ],
    ids=" ".join,
)
def test_errors_name_no_flag_that_the_command_lacks(
    no_apis: None, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    for name in ("DATACRUNCH_API_KEY", "SCALE_API_KEY", "GRAYSWAN_API_KEY"):
        monkeypatch.setenv(name, "a-key-0123456789")
    host = "http://model.example.org" if "gray-swan" in arguments else "http://127.0.0.1:9"
    outcome = linkspan(*arguments, "--base-url", host, "Hello")
    assert outcome.exit_code == 1
    assert said in outcome.stderr
    assert set(re.findall(r"--[a-z-]+", outcome.stderr)) <= {"--api", "--base-url"}


# ------------------------------------------------------------------ what reaches a terminal

#: Sets the title, clears the screen, writes the clipboard; a C1 introducer; text turned around.
HOSTILE = "\x1b]0;title\x07\x1b[2J\x1b]52;c;ZXZpbA==\x07\x9b2J\x7f\x08\r\u202e\u200f\u061c\u2028abc"


@pytest.mark.parametrize(
    "arguments",
    [
        ["models", "scaleway"],
        ["models", "scaleway", "--json"],
        ["doctor"],
        ["doctor", "--json"],
        ["chat", "scaleway", "-m", "gpt-oss-120b", "Hello"],
    ],
)
@pytest.mark.parametrize("kind", ["names", "errors"])
def test_nothing_a_server_says_steers_the_terminal(
    no_apis: None, monkeypatch: pytest.MonkeyPatch, arguments: list[str], kind: str
) -> None:
    monkeypatch.setenv("SCW_SECRET_KEY", KEY)
    names = {"object": "list", "data": [{"id": f"model{HOSTILE}", "object": "model", "owned_by": HOSTILE}]}
    refusal = {"error": {"message": f"refused{HOSTILE}", "type": HOSTILE}}
    answer = http(200, json.dumps(names).encode()) if kind == "names" else http(400, json.dumps(refusal).encode())
    if arguments[0] == "chat" and kind == "names":
        chunk = {"choices": [{"index": 0, "delta": {"content": f"model{HOSTILE}"}, "finish_reason": "stop"}]}
        answer = http(200, f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode(), content_type="text/event-stream")
    with LoopbackServer() as server:
        monkeypatch.setenv("SCALEWAY_BASE_URL", f"http://127.0.0.1:{server.port}")
        server.answer(answer)
        outcome = linkspan(*arguments)
        printed = outcome.stdout + outcome.stderr
    assert "refused" in printed or "model" in printed or arguments[0] == "doctor"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", printed)
