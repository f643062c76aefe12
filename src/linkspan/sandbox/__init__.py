"""A local stand-in for the APIs that linkspan speaks: for tests, demonstrations and a first try without a key.

``run()`` starts it for a ``with`` or ``async with`` block; ``linkspan sandbox`` from the command line. It needs the
extra ``linkspan[sandbox]``.
"""

from __future__ import annotations

try:
    import platformdirs as _platformdirs  # noqa: F401
    import starlette as _starlette  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        f"linkspan.sandbox needs {error.name}, which comes with an extra: pip install 'linkspan[sandbox]'",
        name=error.name,
    ) from error

from linkspan.sandbox.datacrunch import Options as DataCrunchOptions
from linkspan.sandbox.engine import Call, ConnectionCut, Engine, EngineError, Guide, HTTPAnswer, Piece, RawEvent
from linkspan.sandbox.llm_engine import ModelEndpoint
from linkspan.sandbox.llm_engine import Options as LLMEngineOptions
from linkspan.sandbox.recording import RecordedRequest, Recorder
from linkspan.sandbox.scaleway import Options as ScalewayOptions
from linkspan.sandbox.scripted import Cut, EndEarly, ErrorEvent, HTTPError, Reply, Rule, ScriptedEngine, Stall
from linkspan.sandbox.server import Sandbox, run

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
    "run",
]
