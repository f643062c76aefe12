"""The README's Python, run from top to bottom against the sandbox."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from linkspan_sandbox import Reply, Sandbox

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SECTION = README[README.index("## Use it") : README.index("### On the command line")]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture
def sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    # The examples ask DataCrunch for a model by name, as its own endpoint wants it.
    for name, value in {**sandbox.environment, "DATACRUNCH_BASE_URL": sandbox.datacrunch_url}.items():
        monkeypatch.setenv(name, value)
    return sandbox


def test_there_is_an_example_of_each_api_in_each_framework() -> None:
    assert len(BLOCKS) == 8


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r"from (l\S+) import", block)[-1])
def test_it_runs(sandbox: Sandbox, capsys: pytest.CaptureFixture[str], block: str) -> None:
    answer = '{"port": "Ostra", "time": "09:40"}' if "structured_predict" in block else "A bridge for ferries."
    sandbox.add_rule(Reply(text=answer))
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    shown = capsys.readouterr().out
    assert ("port='Ostra' time='09:40'" if "structured_predict" in block else "A bridge for ferries.") in shown
