"""What importing a class leaves out: other APIs, templates, and what only a retry needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import linkspan.langchain
import linkspan.llama_index


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n')"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (
            "from linkspan.langchain import ChatScaleway",
            {"tenacity", "jinja2", "jsonschema", "linkspan.langchain.gray_swan", "linkspan.providers.datacrunch"},
        ),
        (
            "from llama_index.llms.scaleway import Scaleway",
            {"linkspan.llama_index.gray_swan", "linkspan.llama_index.datacrunch", "linkspan.llama_index.llm_engine"},
        ),
    ],
)
def test_a_class_loads_neither_other_apis_nor_what_it_may_never_need(statement: str, absent: set[str]) -> None:
    assert not absent & loaded_by(statement)


@pytest.mark.parametrize("module", [linkspan.langchain, linkspan.llama_index])
def test_every_public_name_is_there_and_listed(module) -> None:
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("module", [linkspan.langchain, linkspan.llama_index])
def test_an_unknown_name_is_an_attribute_error(module) -> None:
    with pytest.raises(AttributeError, match="Scalway"):
        module.Scalway  # noqa: B018
