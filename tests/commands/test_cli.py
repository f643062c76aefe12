"""The command line, as a user types it."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from typer.testing import CliRunner

from linkspan.commands import app
from linkspan.sandbox import local_model

if TYPE_CHECKING:
    from pathlib import Path

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
    assert "sandbox" in outcome.output


def test_sandbox_without_weights_says_how_to_get_them(no_network: None) -> None:
    outcome = subprocess.run([*LINKSPAN, "sandbox", "--port", "0"], capture_output=True, text=True, check=False)
    assert outcome.returncode == 1
    assert "linkspan sandbox --engine local --download" in " ".join(outcome.stderr.split())
    assert "Traceback" not in outcome.stderr


def test_demo_without_network_says_which_step_failed(no_network: None) -> None:
    outcome = subprocess.run([*LINKSPAN, "demo"], capture_output=True, text=True, check=False)
    assert outcome.returncode == 1
    assert "fetching the model failed" in outcome.stderr
    assert "No matching distribution" in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to another process")
def test_sandbox_serves_until_interrupted() -> None:
    command = [*LINKSPAN, "sandbox", "--engine", "scripted", "--port", "0", "--api-key", "right"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        line = next(line for line in lines if line.startswith("LLM Engine: base URL "))
        llm_engine_url = line.removeprefix("LLM Engine: base URL ").split(",")[0]
        assert httpx.get(f"{llm_engine_url}/healthz", trust_env=False).status_code == 200
        line = next(line for line in lines if line.startswith("Scaleway: base URL "))
        base_url = line.removeprefix("Scaleway: base URL ").split(",")[0]
        curl = next(lines)
        assert curl.startswith(f"  curl {base_url}/chat/completions -H 'Authorization: Bearer $KEY' -d ")
        body = curl.split(" -d ")[1].strip().strip("'")
        answer = httpx.post(
            f"{base_url}/chat/completions",
            content=body,
            headers={"authorization": "Bearer right"},
            trust_env=False,
        )
        assert answer.json()["choices"][0]["message"]["content"] == "Hello"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert list(lines) == ["stopped\n"]


def test_says_which_extra_is_missing() -> None:
    code = "import sys; sys.modules['typer'] = None\nfrom linkspan.cli import main; main()"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.returncode == 2
    assert outcome.stderr == (
        "linkspan: the command line needs typer, which comes with an extra: pip install 'linkspan[sandbox]'\n"
    )


@pytest.mark.skipif(local_model.find_weights() is None, reason="the local model's weights are not on this machine")
def test_demo_runs_to_its_summary() -> None:
    outcome = subprocess.run([*LINKSPAN, "demo"], capture_output=True, text=True, check=False, timeout=300)
    assert outcome.returncode == 0, outcome.stderr
    assert "All parts worked" in outcome.stdout
    for part in ("LangChain chain, streamed", "LlamaIndex query engine", "LangChain async batch"):
        assert part in outcome.stdout
