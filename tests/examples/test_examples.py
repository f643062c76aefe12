"""The examples, run as a user runs them: without a key, and with one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from linkspan.sandbox import Rule, run

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = "llama-3.3-70b-instruct"

#: What each prints, without and with the parts that depend on what is answered.
SCRIPTED = {
    "langchain_chain": [
        "A linkspan is a hinged bridge between a quay and a ship.",
        "- A ferry is a ship that carries people and vehicles to and fro.",
        "- A quay is a wall at the water's edge where ships are loaded.",
        "llama-3.3-70b-instruct: 24 tokens in, 38 out",
    ],
    "llama_index_query_engine": [
        "How long is the linkspan of Ostra?",
        "It is 60 metres long.",
        "Source: The linkspan of the harbour of Ostra was built in 1974. It is 60 metres long and carries 180 tonnes.",
    ],
}
REQUESTS = {"langchain_chain": 3, "llama_index_query_engine": 1}


def run_example(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SCW_", "SCALEWAY_", "LANGSMITH_"))}
    # Whatever would leave this machine ends at a port where nobody listens.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    here = {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        env={**kept, **nowhere, **here, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SCRIPTED) == set(REQUESTS)


@pytest.mark.parametrize("name", SCRIPTED)
def test_without_a_key_it_runs_against_the_sandbox(name: str) -> None:
    outcome = run_example(name)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.splitlines() == SCRIPTED[name]
    assert outcome.stderr == ""


@pytest.mark.parametrize("name", SCRIPTED)
def test_with_a_key_it_asks_the_service(name: str) -> None:
    key = "the-key-of-the-user"
    with run(api_key=key, rules=[Rule("So says the service.")]) as service:
        outcome = run_example(name, SCW_SECRET_KEY=key, SCALEWAY_BASE_URL=service.scaleway_url)
        requests = list(service.requests)
    assert outcome.returncode == 0, outcome.stderr
    assert "So says the service." in outcome.stdout
    assert len(requests) == REQUESTS[name]
    assert {request.json["model"] for request in requests} == {MODEL}
