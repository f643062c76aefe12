"""The contestants. Each returns the texts that it received, so that none can win by losing some.

A framework is imported only with its first contestant, so that its memory does not count for others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

__all__ = [
    "API_ROWS",
    "FLOORS",
    "LANGCHAIN_FLOOR",
    "LANGCHAIN_NEW",
    "LLAMA_INDEX_FLOOR",
    "MAIN_ROWS",
    "RAW",
    "RAW_INSIDE",
    "ROWS",
    "Contestant",
    "Row",
    "Work",
    "installed",
    "load",
]

RAW = "raw httpx + json"
LANGCHAIN_FLOOR = "langchain-core floor"
LLAMA_INDEX_FLOOR = "llama-index floor"
FLOORS = (LANGCHAIN_FLOOR, LLAMA_INDEX_FLOOR)
LANGCHAIN_NEW = "langchain-core, new chunks"

MODEL = "llama-3.3-70b-instruct"
KEY = "no-key-is-needed-here"
PROMPT = "What is a linkspan?"


@dataclass(frozen=True)
class Work:
    """A contestant's request, and the answer of a floor, which sends no request.

    Attributes:
        url: The replay server's URL, with the path that selects the answer.
        pieces: The texts that it sends.
        history: Turns before the question.
        tools: How many tools are offered.
    """

    url: str
    pieces: tuple[str, ...]
    history: int = 0
    tools: int = 0

    def messages(self) -> list[tuple[str, str]]:
        """Return (role, text) of each turn."""
        turn = "The berth was busy, and the ferry waited outside the harbour until noon. " * 3
        past = [("user" if number % 2 == 0 else "assistant", turn) for number in range(self.history)]
        return [*past, ("user", PROMPT)]

    def tool_dicts(self) -> list[dict[str, Any]]:
        """Return the tools as Chat Completions writes them."""
        properties = {name: {"type": "string", "description": f"The {name}."} for name in ("port", "ship", "day")}
        schema = {"type": "object", "properties": properties, "required": ["port"]}
        functions = [
            {"name": f"find_berth_{number}", "description": "Find a berth.", "parameters": schema}
            for number in range(self.tools)
        ]
        return [{"type": "function", "function": function} for function in functions]


@dataclass(frozen=True)
class Contestant:
    """A client to measure.

    Attributes:
        stream: Stream one answer, text by text.
        astream: The same, async.
        call: Request a whole answer and return its text; ``None`` if not measured.
        acall: The same, async.
        prepare: Called before each stream, unmeasured.
    """

    stream: Callable[[], Iterator[str]]
    astream: Callable[[], AsyncIterator[str]]
    call: Callable[[], str] | None = None
    acall: Callable[[], Awaitable[str]] | None = None
    prepare: Callable[[], None] | None = None


@dataclass(frozen=True)
class Row:
    """One line of the tables.

    Attributes:
        name: The row's name.
        module: The module of its factory, in this package.
        factory: Builds the contestant from a :class:`Work` and ``options``.
        floor: Its framework's floor; ``None`` outside a framework.
        needs: The package that it requires, else it is omitted; linkspan depends on none of these.
        options: Arguments for the factory.
        raw: The row of raw reading in the same dialect.
    """

    name: str
    module: str
    factory: str
    floor: str | None = None
    needs: str | None = None
    options: tuple[str, ...] = field(default=())
    raw: str = RAW


_LC, _LI = LANGCHAIN_FLOOR, LLAMA_INDEX_FLOOR

#: The rows of the tables.
MAIN_ROWS = (
    Row(RAW, "plain", "raw"),
    Row("linkspan Endpoint", "plain", "endpoint"),
    Row("openai client", "plain", "openai_client", needs="openai"),
    Row(_LC, "in_langchain", "floor"),
    Row("linkspan ChatScaleway", "in_langchain", "linkspan", _LC, options=("ChatScaleway",)),
    Row("langchain-openai", "in_langchain", "openai", _LC, "langchain_openai"),
    Row("langchain-mistralai", "in_langchain", "mistralai", _LC, "langchain_mistralai"),
    Row("langchain-groq", "in_langchain", "groq", _LC, "langchain_groq"),
    Row(_LI, "in_llama_index", "floor"),
    Row("linkspan llama_index Scaleway", "in_llama_index", "linkspan", _LI, options=("Scaleway",)),
    Row("llama-index OpenAILike", "in_llama_index", "openai_like", _LI, "llama_index.llms.openai_like"),
)
_RAW_ENGINE, _RAW_TGI = "raw, LLM Engine v1", "raw, TGI"
_API_CLASSES = (
    ("ChatGraySwan", "GraySwan", RAW),
    ("ChatLLMEngine", "ChatLLMEngine", RAW),
    ("LLMEngine", "LLMEngine", _RAW_ENGINE),
    ("ChatDataCrunch", "ChatDataCrunch", _RAW_TGI),
    ("DataCrunch", "DataCrunch", _RAW_TGI),
)
#: linkspan's other classes, and raw reading of the same dialect.
API_ROWS = (
    Row(_RAW_ENGINE, "plain", "raw", options=("engine",)),
    Row(_RAW_TGI, "plain", "raw", options=("tgi",)),
    *(Row(f"linkspan {lc}", "in_langchain", "linkspan", _LC, options=(lc,), raw=raw) for lc, _, raw in _API_CLASSES),
    *(
        Row(f"linkspan llama_index {li}", "in_llama_index", "linkspan", _LI, options=(li,), raw=raw)
        for _, li, raw in _API_CLASSES
    ),
)
#: A floor that creates its chunks while streaming, like every package.
NEW_CHUNKS_ROW = Row(LANGCHAIN_NEW, "in_langchain", "new_chunks")
#: Raw reading inside each floor: no integration over httpx could cost less. It is more than the sum of both, because a
#: floor alone runs from the processor's caches, and between two reads it does not.
RAW_INSIDE = {
    _LC: Row("raw inside langchain-core", "in_langchain", "raw_inside", _LC),
    _LI: Row("raw inside llama-index", "in_llama_index", "raw_inside", _LI),
}
ROWS = {row.name: row for row in (*MAIN_ROWS, NEW_CHUNKS_ROW, *RAW_INSIDE.values(), *API_ROWS)}


def installed(row: Row) -> bool:
    """Return whether a row's package is installed."""
    if row.needs is None:
        return True
    try:
        return find_spec(row.needs) is not None
    except ModuleNotFoundError:
        return False


def load(row: Row, work: Work) -> Contestant:
    """Build a row's contestant."""
    module = import_module(f"{__name__}.{row.module}")
    contestant: Contestant = getattr(module, row.factory)(work, *row.options)
    return contestant
