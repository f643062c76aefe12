"""What importing a class leaves out: other APIs, templates, and what only a retry needs."""

from __future__ import annotations

from functools import cache

import pytest

import linkspan.langchain
import linkspan.llama_index
from tests.support.warm import LANGCHAIN, LLAMA_INDEX, run_warm

#: What embeddings inherit from loads less than what chat models do.
EMBEDDINGS = "langchain_core.embeddings.embeddings"


@cache
def loaded_by(statement: str, base: str = LANGCHAIN) -> frozenset[str]:
    """What is loaded after a statement, beside its framework's base."""
    return frozenset(run_warm(base, f"import sys\n{statement}\nprint(*sys.modules, sep='\\n')").split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (
            "from linkspan.langchain import ChatScaleway",
            {"tenacity", "jinja2", "jsonschema", "linkspan.langchain.gray_swan", "linkspan.providers.datacrunch"}
            | {"linkspan.langchain.structured_output", "linkspan.langchain.answer_parsers"},
        ),
        (
            "from linkspan.langchain import ChatDataCrunch",
            {"jinja2", "linkspan.providers.scaleway", "linkspan.langchain.structured_output"},
        ),
        (
            "from linkspan.langchain import LLMEngine",
            {"linkspan.langchain.chat_model", "linkspan.langchain.structured_output", "linkspan.prompts"},
        ),
        (
            "from linkspan.langchain import ScalewayEmbeddings",
            {"linkspan.langchain.chunks", "linkspan.routes.rerank"},
        ),
        (
            "from llama_index.llms.scaleway import Scaleway",
            {"linkspan.llama_index.gray_swan", "linkspan.llama_index.datacrunch", "linkspan.llama_index.llm_engine"},
        ),
    ],
)
def test_a_class_loads_neither_other_apis_nor_what_it_may_never_need(statement: str, absent: set[str]) -> None:
    assert not absent & loaded_by(statement, LLAMA_INDEX if "llama_index" in statement else LANGCHAIN)


@pytest.mark.parametrize(
    ("cls", "base"),
    [("ChatScaleway", LANGCHAIN), ("ScalewayEmbeddings", EMBEDDINGS)],
)
def test_a_class_loads_no_more_of_core_than_its_base_there(cls: str, base: str) -> None:
    needed = loaded_by("pass", base)
    loaded = loaded_by(f"from linkspan.langchain import {cls}", base)
    assert not {name for name in loaded - needed if name.startswith("langchain_core.")}


@pytest.mark.parametrize("cls", ["linkspan.langchain.ChatScaleway", "linkspan.llama_index.Scaleway"])
def test_validators_wait_for_the_first_object(cls: str) -> None:
    module, _, name = cls.rpartition(".")
    program = (
        f"from {module} import {name} as cls\n"
        "own = [base for base in cls.__mro__ if base.__module__.startswith('linkspan')]\n"
        "bases = [base for base in own if hasattr(base, 'model_fields')]\n"
        "assert len(bases) > 2\n"
        "assert not [base for base in bases if base.__pydantic_complete__]\n"
        "cls(model='m', api_key='k')\n"
        "assert [base for base in bases if base.__pydantic_complete__] == [cls]\n"
    )
    run_warm(LLAMA_INDEX if "llama_index" in module else LANGCHAIN, program)


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
    run_warm(LANGCHAIN, program)


@pytest.mark.parametrize(
    "module", ["linkspan.commands", "linkspan_sandbox.commands", "linkspan_sandbox.commands.weights"]
)
def test_the_commands_of_both_distributions_can_be_imported_first(module: str) -> None:
    assert module in loaded_by(f"import {module}")
