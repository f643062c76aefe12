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


def test_one_class_is_enough_to_read_stored_messages_of_every_provider() -> None:
    program = (
        "from linkspan.langchain import ChatScaleway as _\n"
        "from langchain_core.messages import AIMessage\n"
        "for provider in ('scaleway', 'gray_swan', 'llm_engine', 'datacrunch'):\n"
        "    stored = {'reasoning_content': 'hm'}, {'model_provider': provider}\n"
        "    message = AIMessage('x', additional_kwargs=stored[0], response_metadata=stored[1])\n"
        "    assert [block['type'] for block in message.content_blocks] == ['reasoning', 'text'], provider\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
