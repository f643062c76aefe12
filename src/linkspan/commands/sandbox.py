"""``linkspan sandbox``: serve until told to stop."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from linkspan.commands import console
from linkspan.errors import ConfigurationError
from linkspan.sandbox import run
from linkspan.sandbox.scaleway import MODELS

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["serve"]


def serve(engine: str, *, host: str, port: int, api_key: str | None, download: bool) -> None:
    """Serve the sandbox until SIGINT or SIGTERM.

    Raises:
        LinkspanError: If the weights, the library or the port are not to be had.
    """
    if download and engine != "local":
        raise ConfigurationError("--download fetches the local engine's model; the scripted engine has none")
    if download:
        console.ensure_weights()
    stop = threading.Event()

    def stop_on(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop_on)
    sandbox = run(engine, host=host, port=port, api_key=api_key)
    with console.working(f"starting the {engine} engine"):
        sandbox.start()
    try:
        model = next(iter(MODELS))
        console.out.print(f"linkspan sandbox, {engine} engine, at [bold]{sandbox.url}[/]   (Ctrl-C stops it)")
        key = "the one you gave" if api_key else "any"
        console.out.print(f"DataCrunch: base URL {sandbox.datacrunch_url}, key: {key}")
        console.out.print(f"DataCrunch container, TGI: base URL {sandbox.tgi_url}, key: {key}")
        console.out.print(f"Gray Swan: base URL {sandbox.gray_swan_url}, key: {key}")
        console.out.print(f"LLM Engine: base URL {sandbox.llm_engine_url}, key: {key}")
        console.out.print(f"Scaleway: base URL {sandbox.scaleway_url}, key: {key}")
        console.out.print(
            f"  curl {sandbox.scaleway_url}/chat/completions -H 'Authorization: Bearer {'$KEY' if api_key else 'any'}' "
            f"""-d '{{"model":"{model}","messages":[{{"role":"user","content":"Hello"}}]}}'""",
            markup=False,
            soft_wrap=True,
        )
        # A wait with a timeout lets the interpreter run the signal handlers on every platform.
        while not stop.wait(1):
            pass
    finally:
        sandbox.stop()
    console.out.print("stopped")
