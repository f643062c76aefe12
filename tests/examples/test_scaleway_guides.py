"""The Python of the guides to Scaleway's embeddings, reranking, documents and sound, run against the sandbox."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
NAMES = ("embeddings",)
TEXTS = {name: (GUIDES / f"{name}.md").read_text("utf-8") for name in NAMES}
BLOCKS = [
    pytest.param(block, id=f"{name}-{number}")
    for name, text in TEXTS.items()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_it_runs(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, block: str) -> None:
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    exec(compile(block, "a guide", "exec"), {"__name__": "guide"})
    assert sandbox.requests
