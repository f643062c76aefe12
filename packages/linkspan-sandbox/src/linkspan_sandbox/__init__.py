"""A local stand-in for the APIs that linkspan supports: for tests, demos and trying linkspan without a key.

``run()`` starts it for a ``with`` or ``async with`` block; ``linkspan sandbox`` starts it from the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linkspan.conversation import ToolCall
    from linkspan_sandbox.datacrunch import Options as DataCrunchOptions
    from linkspan_sandbox.engine import Call, ConnectionCut, Engine, EngineError, Guide, HTTPAnswer, Piece, RawEvent
    from linkspan_sandbox.llm_engine import Options as LLMEngineOptions
    from linkspan_sandbox.llm_engine_endpoints import ModelEndpoint
    from linkspan_sandbox.recording import RecordedRequest, Recorder
    from linkspan_sandbox.rules import Cut, EndEarly, ErrorEvent, HTTPError, Reply, Rule, Stall
    from linkspan_sandbox.scaleway import Options as ScalewayOptions
    from linkspan_sandbox.scripted import ScriptedEngine
    from linkspan_sandbox.server import Sandbox, run

__all__ = [
    "Call",
    "ConnectionCut",
    "Cut",
    "DataCrunchOptions",
    "EndEarly",
    "Engine",
    "EngineError",
    "ErrorEvent",
    "Guide",
    "HTTPAnswer",
    "HTTPError",
    "LLMEngineOptions",
    "ModelEndpoint",
    "Piece",
    "RawEvent",
    "RecordedRequest",
    "Recorder",
    "Reply",
    "Rule",
    "Sandbox",
    "ScalewayOptions",
    "ScriptedEngine",
    "Stall",
    "ToolCall",
    "run",
]

#: The module of each name. Imported on first use, because pytest loads this package in every run.
_MODULES = {
    "Call": ("linkspan_sandbox.engine", "Call"),
    "ConnectionCut": ("linkspan_sandbox.engine", "ConnectionCut"),
    "Cut": ("linkspan_sandbox.rules", "Cut"),
    "DataCrunchOptions": ("linkspan_sandbox.datacrunch", "Options"),
    "EndEarly": ("linkspan_sandbox.rules", "EndEarly"),
    "Engine": ("linkspan_sandbox.engine", "Engine"),
    "EngineError": ("linkspan_sandbox.engine", "EngineError"),
    "ErrorEvent": ("linkspan_sandbox.rules", "ErrorEvent"),
    "Guide": ("linkspan_sandbox.engine", "Guide"),
    "HTTPAnswer": ("linkspan_sandbox.engine", "HTTPAnswer"),
    "HTTPError": ("linkspan_sandbox.rules", "HTTPError"),
    "LLMEngineOptions": ("linkspan_sandbox.llm_engine", "Options"),
    "ModelEndpoint": ("linkspan_sandbox.llm_engine_endpoints", "ModelEndpoint"),
    "Piece": ("linkspan_sandbox.engine", "Piece"),
    "RawEvent": ("linkspan_sandbox.engine", "RawEvent"),
    "RecordedRequest": ("linkspan_sandbox.recording", "RecordedRequest"),
    "Recorder": ("linkspan_sandbox.recording", "Recorder"),
    "Reply": ("linkspan_sandbox.rules", "Reply"),
    "Rule": ("linkspan_sandbox.rules", "Rule"),
    "Sandbox": ("linkspan_sandbox.server", "Sandbox"),
    "ScalewayOptions": ("linkspan_sandbox.scaleway", "Options"),
    "ScriptedEngine": ("linkspan_sandbox.scripted", "ScriptedEngine"),
    "Stall": ("linkspan_sandbox.rules", "Stall"),
    "ToolCall": ("linkspan.conversation", "ToolCall"),
    "run": ("linkspan_sandbox.server", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, member = _MODULES[name]
    value = globals()[name] = getattr(import_module(module), member)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
