"""The commands that pages show are there, with the options they are shown with."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.main import get_command

from linkspan.commands import app
from tests.docs.pages import PAGES, ROOT, blocks_of

SHOWN = sorted(
    {
        line.partition("linkspan ")[2].partition("  #")[0].partition(" | ")[0].strip()
        for page in [*PAGES, *sorted((ROOT / "docs").glob("*.md"))]
        for block in blocks_of(page)
        if block.language == "console"
        for line in block.code.splitlines()
        if re.search(r"(^\$ |\| |/bin/)linkspan [a-z]", line)
    }
)


def test_pages_show_every_command() -> None:
    assert {line.split()[0] for line in SHOWN} == set(get_command(app).commands)


@pytest.mark.parametrize("line", SHOWN)
def test_the_command_takes_what_is_shown(line: str) -> None:
    name, *words = shlex.split(line)
    command = get_command(app).commands[name]
    context = command.make_context(name, [word for word in words if word != "…"], resilient_parsing=True)
    assert context.info_name == name
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known
