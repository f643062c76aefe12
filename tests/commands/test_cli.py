"""The command line, as a user types it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from typer.testing import CliRunner

from linkspan.commands import app
from linkspan_sandbox import Reply, Stall, local_model, run

if TYPE_CHECKING:
    from collections.abc import Iterator

START = Path(__file__).parents[2] / "docs" / "guides" / "start.md"
LINKSPAN = [sys.executable, "-c", "from linkspan.cli import main; main()"]


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights, and no index to fetch them from."""
    monkeypatch.setenv("LINKSPAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def test_version() -> None:
    outcome = CliRunner().invoke(app, ["--version"])
    assert (outcome.exit_code, outcome.output) == (0, "linkspan 0.1.0\n")


def test_help_names_the_commands() -> None:
    outcome = CliRunner().invoke(app, ["--help"])
    assert outcome.exit_code == 0
    assert "demo" in outcome.output
    assert "chat" in outcome.output
    assert "sandbox" in outcome.output


@pytest.mark.parametrize("command", ["models", "chat", "doctor"])
def test_help_has_examples(command: str) -> None:
    outcome = CliRunner().invoke(app, [command, "--help"])
    assert f"linkspan {command}" in " ".join(outcome.output.split("Examples:")[1].split())


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let processes that are started hear SIGINT, also where these tests do not (nohup, a shell's background jobs)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to another process")
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_a_call_with_its_own_code() -> None:
    with run() as stand_in:
        stand_in.add_rule(Reply("one two", fault=Stall(after=1)))
        command = [*LINKSPAN, "chat", "gray-swan", "Count"]
        with subprocess.Popen(
            command, env={**os.environ, **stand_in.environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.read(3) == b"one"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130


def test_sandbox_without_weights_says_how_to_get_them(no_network: None) -> None:
    command = [*LINKSPAN, "sandbox", "--engine", "local", "--port", "0"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 1
    assert "linkspan sandbox --engine local --download" in " ".join(outcome.stderr.split())
    assert "Traceback" not in outcome.stderr


def test_demo_without_network_says_which_step_failed(no_network: None) -> None:
    outcome = subprocess.run([*LINKSPAN, "demo"], capture_output=True, text=True, check=False)
    assert outcome.returncode == 1
    assert "fetching the model failed" in outcome.stderr
    assert "No matching distribution" in outcome.stderr
    assert "Traceback" not in outcome.stderr


@contextlib.contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A sandbox in a process of its own, and the lines that it prints at the start."""
    command = [*LINKSPAN, "sandbox", "--engine", "scripted", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            # The last API's address, and its call.
            while not any(line.startswith("Scaleway: ") for line in lines[:-1]):
                line = process.stdout.readline()
                assert line, f"it ended after {lines}"
                lines.append(line.rstrip("\n"))
            yield process, lines
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to another process")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_sandbox_serves_until_stopped(number: signal.Signals, code: int) -> None:
    with serving() as (process, lines):
        (banner,) = (line for line in lines if line.startswith("linkspan sandbox, scripted engine, at "))
        url = banner.partition(" at ")[2].split()[0]
        assert httpx.get(f"{url}/healthz", trust_env=False, verify=False).json()["engine"] == "scripted"
        process.send_signal(number)
        assert process.wait(60) == code
        assert process.stdout is not None
        assert process.stdout.read() == "stopped\n"


#: Where each API has its answer's text.
TEXTS = {
    "/scaleway/v1/chat/completions": lambda answer: answer["choices"][0]["message"]["content"],
    "/gray-swan/cygnal/monitor": lambda answer: answer["violation"] > 0.5,
    "/gray-swan/chat/completion": lambda answer: answer["choices"][0]["message"]["content"],
    "/llm-engine/v1/llm/completions-sync": lambda answer: answer["output"]["text"],
    "/llm-engine/v2/chat/completions": lambda answer: answer["choices"][0]["message"]["content"],
    "/datacrunch/v1/completions/generate": lambda answer: answer["generated_text"],
    "/datacrunch/container/generate": lambda answer: answer["generated_text"],
    "/datacrunch/vllm/v1/completions": lambda answer: answer["choices"][0]["text"],
}


#: What the printed calls are answered: an echo, and by the guard a verdict.
ANSWERS = {**dict.fromkeys(TEXTS, "Hello"), "/gray-swan/cygnal/monitor": True}


def ask(line: str) -> tuple[str, str | bool]:
    """Make the call of a curl line; return its path and its answer's text."""
    _curl, url, *flags = shlex.split(line)
    arguments = list(zip(flags[::2], flags[1::2], strict=True))
    headers = dict(value.split(": ", 1) for flag, value in arguments if flag == "-H")
    (body,) = (value for flag, value in arguments if flag == "-d")
    headers["Authorization"] = headers["Authorization"].replace("$KEY", KEY)
    answer = httpx.post(url, content=body, headers=headers, trust_env=False, verify=False)
    assert answer.status_code == 200, answer.text
    path = httpx.URL(url).path
    return path, TEXTS[path](answer.json())


def test_the_call_of_the_guide_works() -> None:
    (line,) = (line[2:] for line in START.read_text("utf-8").splitlines() if line.startswith("$ curl "))
    with run() as sandbox:
        assert ask(line.replace("http://127.0.0.1:8321", sandbox.url))[1] == "Hello"


#: A key that a shell must quote.
KEY = "right key's"


@pytest.fixture(scope="module")
def with_any_key() -> Iterator[list[str]]:
    """What a sandbox that takes any key prints at the start; it runs on."""
    with serving() as (_, lines):
        yield lines


@pytest.fixture(scope="module")
def with_one_key() -> Iterator[list[str]]:
    """What a sandbox that takes one key prints at the start; it runs on."""
    with serving("--api-key", KEY) as (_, lines):
        yield lines


@pytest.mark.skipif(shutil.which("sh") is None, reason="sh is not here")
@pytest.mark.parametrize("started", ["with_any_key", "with_one_key"])
def test_the_printed_line_sets_the_whole_environment(
    started: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    (export,) = (line for line in request.getfixturevalue(started) if line.startswith("  export "))
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    shown = subprocess.run(
        ["sh", "-c", f"{export}; {shlex.quote(sys.executable)} -c {shlex.quote(program)}"],
        env={**os.environ, "KEY": KEY},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    for name, value in json.loads(shown.stdout).items():
        monkeypatch.setenv(name, value)
    outcome = CliRunner().invoke(app, ["doctor", "--json"])
    assert {found["api"]: found["state"] for found in json.loads(outcome.stdout)["apis"]} == {
        "scaleway": "ok",
        "gray-swan": "ok",
        "llm-engine": "ok",
        "datacrunch": "ok",
    }


@pytest.mark.parametrize(("started", "key"), [("with_any_key", "any"), ("with_one_key", "the one you gave")])
def test_every_call_that_the_sandbox_prints_works(started: str, key: str, request: pytest.FixtureRequest) -> None:
    lines = request.getfixturevalue(started)
    assert dict(ask(line) for line in lines if line.startswith("  curl ")) == ANSWERS
    for line in lines:
        if ": base URL " in line:
            assert line.endswith(key)


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("sh") is None, reason="curl or sh is not here")
def test_a_shell_runs_the_printed_calls(with_one_key: list[str]) -> None:
    script = "\n".join(f"{line} -sS --noproxy '*'; echo" for line in with_one_key if line.startswith("  curl "))
    outcome = subprocess.run(
        ["sh", "-c", script], env={**os.environ, "KEY": KEY}, capture_output=True, text=True, check=False, timeout=240
    )
    answers = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert len(answers) == len(TEXTS), outcome.stderr
    assert all('"Hello"' in json.dumps(answer) or "violation" in answer for answer in answers), outcome.stdout


def test_a_terminal_of_another_encoding_gets_no_traceback() -> None:
    surroundings = {**os.environ, "PYTHONIOENCODING": "ascii"}
    outcome = subprocess.run(
        [*LINKSPAN, "models", "scaleway", "--offline"], capture_output=True, check=False, env=surroundings
    )
    assert outcome.returncode == 0
    assert b"Traceback" not in outcome.stderr
    assert b"? per million" in outcome.stdout + outcome.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_is_said_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        outcome = subprocess.run(
            [*LINKSPAN, "models", "scaleway", "--offline"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("linkspan: ")
    assert outcome.stderr.count("\n") == 1


def test_says_which_extra_is_missing() -> None:
    code = "import sys; sys.modules['typer'] = None\nfrom linkspan.cli import main; main()"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.returncode == 2
    assert outcome.stderr == (
        "linkspan: the command line needs typer, which comes with an extra: pip install 'linkspan[cli]'\n"
    )


@pytest.mark.skipif(local_model.find_weights() is None, reason="the local model's weights are not on this machine")
def test_demo_runs_to_its_summary() -> None:
    outcome = subprocess.run([*LINKSPAN, "demo"], capture_output=True, text=True, check=False, timeout=300)
    assert outcome.returncode == 0, outcome.stderr
    assert "All parts worked" in outcome.stdout
    for part in ("LangChain chain, streamed", "LlamaIndex query engine", "LangChain async batch"):
        assert part in outcome.stdout
