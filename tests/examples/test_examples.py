"""The examples, run as a user runs them: without a key, and with one."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from linkspan.conversation import ToolCall
from linkspan_sandbox import Reply, Rule, run
from tests.support.examples import EXAMPLES, run_afresh, run_example

MODEL = "llama-3.3-70b-instruct"
EMBEDDING_MODEL = "qwen3-embedding-8b"

RAG = [
    "It is 60 metres long.",
    "- harbour.md (0.68)",
    "- limits.md (0.52)",
    "Nothing: they travel free.",
]
BOTH_TOOLS = [
    "> departures {'port': 'Ostra'}",
    "< The next ferry to Ostra leaves at 09:00.",
    "> fare {'port': 'Ostra', 'vehicle': 'car'}",
    "< A car to Ostra costs 31 euros.",
    "The next ferry to Ostra leaves at 09:00, and a car costs 31 euros.",
]
HANDOFF = [
    "> handoff {'to_agent': 'cashier', 'reason': 'a price is wanted'}",
    "< Agent cashier is now handling the request due to the following reason: a price is wanted.",
]
TRIP = "Trip(departure='09:00', euros=31.0)"
DEPARTURE = "Departure(port='Ostra', time='09:40', quay=3)"

#: What each prints without a key.
SCRIPTED = {
    "langchain_agent": [*BOTH_TOOLS, TRIP],
    "langchain_chain": [
        "A linkspan is a hinged bridge between a quay and a ship.",
        "- A ferry is a ship that carries people and vehicles to and fro.",
        "- A quay is a wall at the water's edge where ships are loaded.",
        "llama-3.3-70b-instruct: 24 tokens in, 38 out",
    ],
    "langchain_datacrunch": [
        "A hinged bridge between a quay and a ship.",
        "Once upon a time there was a ferry that sailed by night.",
        "A wall at the water's edge. (stop, 7 tokens)",
        "1 of 2 answers",
        DEPARTURE,
        "A ship that carries people and vehicles to and fro.",
    ],
    "langchain_llm_engine": [
        "A hinged bridge between a quay and a ship.",
        "- A ship that carries people and vehicles to and fro.",
        "- A wall at the water's edge where ships are loaded.",
        "Kind.DELAY",
        DEPARTURE,
        "The next ferry to Ostra leaves at 09:40.",
    ],
    "langchain_rag": RAG,
    "langchain_verda": [
        "A hinged bridge between a quay and a ship.",
        "sandbox: a window of 32768 tokens",
        "[('next_ferry', {'port': 'Ostra'})]",
        DEPARTURE,
        "2 answers, such as: A wall at the water's edge.",
        "Once upon a time there was a ferry that sailed by night.",
        "A wall at the water's edge.",
    ],
    "llama_index_agent": [*BOTH_TOOLS, *HANDOFF, *BOTH_TOOLS, TRIP],
    "llama_index_datacrunch": [
        "A hinged bridge between a quay and a ship.",
        "A wall at the water's edge. (stop, 7 tokens)",
        "1 of 2 answers",
        DEPARTURE,
        "A ship that carries people and vehicles to and fro.",
        "It leaves from quay 3.",
    ],
    "llama_index_llm_engine": [
        "A hinged bridge between a quay and a ship.",
        DEPARTURE,
        "It leaves from quay 3.",
        "At 09:40.",
        "At 09:40.",
    ],
    "llama_index_query_engine": [
        "How long is the linkspan of Ostra?",
        "It is 60 metres long.",
        "Source: The linkspan of the harbour of Ostra was built in 1974. It is 60 metres long and carries 180 tonnes.",
    ],
    "llama_index_rag": RAG,
}
#: One of each framework is started as a user starts it; see tests/support/examples.py.
AFRESH = {"langchain_chain", "llama_index_agent"}
#: Tools that are called at once end in any order.
IN_ANY_ORDER = {"langchain_agent", "llama_index_agent"}
#: Those that ask another service than Scaleway: where the sandbox has it, the variables that lead there, and the routes
#: that are asked, in their order.
ELSEWHERE = {
    "langchain_datacrunch": (
        "datacrunch_url",
        ("DATACRUNCH_API_KEY", "DATACRUNCH_BASE_URL"),
        ["generate", "generate_stream", "generate", "generate", "generate_stream"],
    ),
    "langchain_llm_engine": (
        "llm_engine_url",
        ("SCALE_API_KEY", "LLM_ENGINE_BASE_PATH"),
        ["completions-stream", *["completions-sync"] * 2, *["completions"] * 3],
    ),
    "langchain_verda": (
        "vllm_url",
        ("VERDA_API_KEY", "VERDA_BASE_URL"),
        ["models", *["completions"] * 4, "models", *["completions"] * 2],
    ),
    "llama_index_datacrunch": (
        "datacrunch_url",
        ("DATACRUNCH_API_KEY", "DATACRUNCH_BASE_URL"),
        [*["generate"] * 3, *["generate_stream"] * 2],
    ),
    "llama_index_llm_engine": (
        "llm_engine_url",
        ("SCALE_API_KEY", "LLM_ENGINE_BASE_PATH"),
        ["completions-stream", "completions", *["completions-stream"] * 2, "completions"],
    ),
}
#: How many chat requests each of the others makes to a service that calls no tools.
REQUESTS = {
    "langchain_agent": 2,
    "langchain_chain": 3,
    "langchain_rag": 2,
    "llama_index_agent": 3,
    "llama_index_query_engine": 1,
    "llama_index_rag": 2,
}
#: What else they ask the service.
OTHER_ROUTES = {
    "langchain_rag": {"embeddings", "rerank"},
    "llama_index_query_engine": {"embeddings"},
    "llama_index_rag": {"embeddings", "rerank"},
}
#: Those that have tests of their own.
OWN_TESTS = {
    "batch_file",
    "cost",
    "cygnal_guard",
    "dask_batch",
    "data_role_injection",
    "langchain_callbacks",
    "langchain_decisions",
    "langchain_documents",
    "langchain_extraction",
    "langchain_gpt_oss",
    "langchain_vision",
    "llama_index_data_chat",
    "llama_index_documents",
    "observability",
}
TRIP_JSON = '{"departure": "09:00", "euros": 31}'


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} - OWN_TESTS == set(SCRIPTED) == {*REQUESTS, *ELSEWHERE}
    # Those are named where they are tested, in this folder or with what they show.
    tests = [path.read_text("utf-8") for path in EXAMPLES.parent.glob("tests/*/test_*.py") if path != Path(__file__)]
    assert {name for name in OWN_TESTS if not any(f'"{name}' in test for test in tests)} == set()


GUIDE = EXAMPLES.parent / "docs" / "guides" / "examples.md"
#: What the extras of the guide's columns, and the sandbox, bring.
BROUGHT = {"httpx", "langchain_core", "linkspan", "linkspan_sandbox", "llama_index", "pydantic", "rich", "uvicorn"}


def test_the_guide_lists_every_example() -> None:
    listed = GUIDE.read_text("utf-8")
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    folders = {f"{path.parent.name}/" for path in EXAMPLES.glob("*/*.py")}
    assert programs | folders == set(re.findall(r"`([\w/]+(?:\.py|/))`", listed)) - {"examples/"}


def imported_by(path: Path) -> set[str]:
    """The packages that a program imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_the_guide_says_what_each_example_needs() -> None:
    for path in EXAMPLES.rglob("*.py"):
        imported = imported_by(path)
        further = imported - BROUGHT - sys.stdlib_module_names - {module.stem for module in EXAMPLES.rglob("*.py")}
        place = path.name if path.parent == EXAMPLES else f"{path.relative_to(EXAMPLES).parts[0]}/"
        (row,) = (line for line in GUIDE.read_text("utf-8").splitlines() if f"`{place}`" in line)
        needs = row.rpartition("| ")[2]
        for module in further:
            assert f"`{module.replace('_', '-')}" in needs, f"{place} imports {module}"


@pytest.mark.parametrize("name", SCRIPTED)
def test_without_a_key_it_runs_against_the_sandbox(name: str) -> None:
    outcome = (run_afresh if name in AFRESH else run_example)(name)
    assert outcome.returncode == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    if name in IN_ANY_ORDER:
        assert lines[-1] == SCRIPTED[name][-1]
        assert sorted(lines) == sorted(SCRIPTED[name])
    else:
        assert lines == SCRIPTED[name]
    assert outcome.stderr == ""


@pytest.mark.parametrize("name", REQUESTS)
def test_with_a_key_it_asks_the_service(name: str) -> None:
    key = "the-key-of-the-user"
    rules = [
        Rule(Reply(tool_calls=[ToolCall(None, "Trip", TRIP_JSON)]), when=lambda call: call.tool_choice == "required"),
        Rule(TRIP_JSON, when=lambda call: call.response_format is not None),
        Rule("So says the service."),
    ]
    with run(api_key=key, rules=rules) as service:
        outcome = run_example(name, SCW_SECRET_KEY=key, SCALEWAY_BASE_URL=service.scaleway_url)
        requests = list(service.requests)
    assert outcome.returncode == 0, outcome.stderr
    assert "So says the service." in outcome.stdout
    chats = [request for request in requests if request.path.endswith("/chat/completions")]
    assert len(chats) == REQUESTS[name]
    assert {request.json["model"] for request in chats} == {MODEL}
    others = [request for request in requests if request not in chats]
    assert {request.json["model"] for request in others} <= {EMBEDDING_MODEL}
    assert {request.path.rpartition("/")[2] for request in others} == OTHER_ROUTES.get(name, set())
    assert all(request.status == 200 for request in requests)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_with_its_variables_it_asks_the_service(name: str) -> None:
    url, (key_variable, address_variable), routes = ELSEWHERE[name]
    key = "the-key-of-the-user"
    rules = [
        Rule("cancellation", when="in one word"),
        Rule('{"port": "Ostra", "time": "10:00", "quay": 1}', when="as JSON"),
        Rule("So says the service."),
    ]
    with run(api_key=key, rules=rules) as service:
        outcome = run_example(name, **{key_variable: key, address_variable: getattr(service, url)})
        requests = list(service.requests)
    assert outcome.returncode == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert "Departure(port='Ostra', time='10:00', quay=1)" in lines
    assert lines[0] == lines[-1] == "So says the service."
    assert [request.path.rpartition("/")[2] for request in requests] == routes
    assert all(request.status == 200 for request in requests)
