"""``docs/fields.md`` against the code: every field is in it, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from linkspan import langchain, llama_index
from linkspan.providers.datacrunch.parameters import PARAMETERS
from linkspan.providers.llm_engine import PROMPT_FIELDS

PAGE = Path(__file__).parents[2] / "docs" / "fields.md"
#: What is no parameter, but asked for in another way.
TARGETS = {"prompt", "model_endpoint_name", "inputs", "model"}
SECTIONS = {
    "LLM Engine, prompt API (v1)": ("LLMEngine", set(PROMPT_FIELDS)),
    "TGI (DataCrunch)": ("DataCrunch", PARAMETERS - {"max_tokens"}),
}


def table(section: str) -> list[list[str]]:
    """The rows of the table under a heading, without its head."""
    _, found, rest = PAGE.read_text(encoding="utf-8").partition(f"## {section}\n")
    assert found, section
    lines = [line for line in rest.split("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_of_the_request_is_in_the_table_once(section: str) -> None:
    _, fields = SECTIONS[section]
    rows = table(f"{section}: request")
    names = [quoted(row[0])[0] for row in rows]
    assert len(names) == len(set(names))
    assert set(names) - TARGETS == fields
    assert all(len(row) == 4 for row in rows)


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize(("framework", "column"), [("langchain", 1), ("llama_index", 2)])
def test_the_arguments_that_it_names_are_there(section: str, framework: str, column: int) -> None:
    name, _ = SECTIONS[section]
    cls: Any = getattr({"langchain": langchain, "llama_index": llama_index}[framework], name)
    aliases = cls.argument_aliases
    for row in table(f"{section}: request"):
        if quoted(row[0])[0] in ("prompt", "inputs"):
            continue
        arguments = quoted(row[column])
        assert arguments, row
        for argument in arguments:
            method = re.match(r"(\w+)\(", argument)
            assert hasattr(cls, method[1]) if method else argument in {*cls.model_fields, *aliases}, (row, argument)
        # What the field itself is called is taken too, in both frameworks.
        field = quoted(row[0])[0]
        assert field in arguments or field in TARGETS


def test_the_answers_are_described() -> None:
    engine = {name for row in table("LLM Engine, prompt API (v1): answer") for name in quoted(row[0])}
    assert {"request_id", "output.text", "output.num_prompt_tokens", "output.num_completion_tokens"} <= engine
    tgi = {name for row in table("TGI (DataCrunch): answer") for name in quoted(row[0])}
    told = ("finish_reason", "generated_tokens", "seed", "tokens", "prefill", "best_of_sequences", "top_tokens")
    assert {f"details.{name}" for name in told} <= tgi
