"""``run()``: serve the sandbox on a loopback port in its own thread, for a ``with`` or ``async with`` block."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, final

import uvicorn

from linkspan.errors import ConfigurationError
from linkspan.providers.cygnal import CYGNAL
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.gray_swan import GRAY_SWAN
from linkspan.providers.llm_engine.provider import LLM_ENGINE
from linkspan.providers.scaleway import SCALEWAY
from linkspan_sandbox import datacrunch, gray_swan, llm_engine, scaleway, vllm
from linkspan_sandbox.addresses import listen
from linkspan_sandbox.app import build_app
from linkspan_sandbox.keys import KeyCheck
from linkspan_sandbox.local_engine import LocalEngine
from linkspan_sandbox.recording import RecordedRequest, Recorder
from linkspan_sandbox.rules import Reply, Rule
from linkspan_sandbox.scripted import ScriptedEngine
from linkspan_sandbox.uvicorn_server import SignallingServer, protocol_that_registers_in

if TYPE_CHECKING:
    import re
    import socket
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from starlette.types import Scope

    from linkspan_sandbox.engine import Call, Engine

__all__ = ["Sandbox", "run"]

_HOST = "127.0.0.1"


@final
class Sandbox:
    """A running sandbox; created by :func:`run`.

    ``requests`` lists the requests received (:class:`~linkspan_sandbox.RecordedRequest`), ``rules`` the scripted
    engine's rules. All methods are thread-safe while it runs.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        api_key: str | None = None,
        host: str = _HOST,
        port: int = 0,
        scaleway_options: scaleway.Options | None = None,
        llm_engine_options: llm_engine.Options | None = None,
        datacrunch_options: datacrunch.Options | None = None,
        most_requests: int | None = None,
    ) -> None:
        self.engine = engine
        self._keys = KeyCheck(api_key)
        self._requests = Recorder(most_requests)
        self._address = (host, port)
        self._scaleway_options = scaleway_options or scaleway.Options()
        self._datacrunch_options = datacrunch_options or datacrunch.Options()
        self._llm_engine_options = llm_engine_options or llm_engine.Options()
        self._connections: dict[Any, asyncio.Transport] = {}
        self._server: SignallingServer | None = None
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None

    # ------------------------------------------------------------------ where it is

    @property
    def url(self) -> str:
        """Root URL of the sandbox, such as ``http://127.0.0.1:40123``."""
        host, port = self._address
        return f"http://{host}:{port}"

    @property
    def scaleway_url(self) -> str:
        """Base URL for Scaleway clients."""
        return f"{self.url}/scaleway/v1"

    @property
    def gray_swan_url(self) -> str:
        """Base URL for Gray Swan clients, including Cygnal's."""
        return f"{self.url}/gray-swan"

    @property
    def datacrunch_url(self) -> str:
        """Base URL of DataCrunch's legacy route, which requires ``model``."""
        return f"{self.url}/datacrunch/v1/completions"

    @property
    def tgi_url(self) -> str:
        """Root URL of a full TGI server, as in a DataCrunch container or on your own machine."""
        return f"{self.url}/datacrunch/container"

    @property
    def vllm_url(self) -> str:
        """Root URL of a vLLM server, as in a DataCrunch container, for ``api="openai"``."""
        return f"{self.url}/datacrunch/vllm"

    @property
    def llm_engine_url(self) -> str:
        """Base URL for clients of LLM Engine."""
        return f"{self.url}/llm-engine"

    @property
    def api_key(self) -> str:
        """A key that the sandbox accepts."""
        return self._keys.accepted

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point every linkspan class here: keys and base URLs of all four APIs."""
        urls = {
            SCALEWAY: self.scaleway_url,
            GRAY_SWAN: self.gray_swan_url,
            CYGNAL: self.gray_swan_url,
            LLM_ENGINE: self.llm_engine_url,
            DATACRUNCH: self.tgi_url,
        }
        values: dict[str, str] = {}
        for provider, url in urls.items():
            values.update(dict.fromkeys(provider.base_url_env, url))
            values.update(dict.fromkeys(provider.api_key_env, self.api_key))
        return values

    # ------------------------------------------------------------------ requests and rules

    @property
    def requests(self) -> Recorder:
        """The requests so far: a sequence with ``wait_for(count)`` and ``clear()``."""
        return self._requests

    @property
    def last_request(self) -> RecordedRequest:
        """The latest request.

        Raises:
            IndexError: No request has arrived.
        """
        if not self._requests:
            raise IndexError("no request has arrived")
        return self._requests[-1]

    @property
    def rules(self) -> Sequence[Rule]:
        """The scripted engine's rules, in matching order."""
        return tuple(self._scripted.rules)

    def add_rule(
        self,
        reply: Reply | str | Callable[[Call], Reply | str],
        *,
        when: str | re.Pattern[str] | Callable[[Call], bool] | None = None,
        role: str | None = None,
        api: str | None = None,
        times: int | None = None,
        route: str | None = None,
    ) -> Rule:
        """Append a rule and return it; the arguments are those of :class:`Rule`.

        Raises:
            ConfigurationError: The engine is not the scripted one.
        """
        rule = Rule(reply, when=when, role=role, api=api, times=times, route=route)
        self._scripted.add(rule)
        return rule

    def reset(self) -> None:
        """Remove all requests and rules, for the next test."""
        self._requests.clear()
        if isinstance(self.engine, ScriptedEngine):
            self.engine.clear()

    @property
    def _scripted(self) -> ScriptedEngine:
        if not isinstance(self.engine, ScriptedEngine):
            raise ConfigurationError(
                f'rules need the scripted engine, but this sandbox has "{self.engine.name}": use engine="scripted"'
            )
        return self.engine

    # ------------------------------------------------------------------ life

    def start(self) -> Sandbox:
        """Start the server and wait until it listens.

        Raises:
            ConfigurationError: The port is in use, or the engine cannot start.
        """
        if self._thread is not None:
            raise ConfigurationError("this sandbox has already started")
        host, port = self._address
        listener = listen(host, port)
        self._address = (host, listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="linkspan-sandbox", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def stop(self) -> None:
        """Close every connection, stop the server and the engine, and wait until they have stopped."""
        self._stopping.set()
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Sandbox:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _serve(self, listener: socket.socket) -> None:
        try:
            asyncio.run(self._main(listener))
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits in start()
            self._failure = error
        finally:
            listener.close()
            self._started.set()

    async def _main(self, listener: socket.socket) -> None:
        await self.engine.start()
        try:
            routes = [
                *scaleway.routes(self.engine, self._keys, self._scaleway_options),
                *gray_swan.routes(self.engine, self._keys),
                *datacrunch.routes(self.engine, self._keys, self._datacrunch_options),
                *vllm.routes(self.engine, self._keys),
                *llm_engine.routes(self.engine, self._keys, self._llm_engine_options),
            ]
            app = build_app(self.engine, routes, self._requests, self._cut)
            config = uvicorn.Config(
                app,
                http=protocol_that_registers_in(self._connections),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_keep_alive=60,
            )
            self._server = SignallingServer(config, self._started, self._connections)
            # The caller may have given up while the engine was starting.
            self._server.should_exit = self._stopping.is_set()
            await self._server.serve(sockets=[listener])
        finally:
            await self.engine.stop()

    def _cut(self, scope: Scope) -> None:
        transport = self._connections.get(tuple(scope["client"]))
        if transport is not None:
            transport.close()


def run(
    engine: str | Engine = "scripted",
    *,
    api_key: str | None = None,
    rules: Iterable[Rule] = (),
    host: str = _HOST,
    port: int = 0,
    scaleway_options: scaleway.Options | None = None,
    llm_engine_options: llm_engine.Options | None = None,
    datacrunch_options: datacrunch.Options | None = None,
    most_requests: int | None = None,
) -> Sandbox:
    """Return a sandbox as a context manager, sync or async.

    Example:
        >>> with run(rules=[Rule("Paris.", when="capital of France")]) as sandbox:
        ...     chat = ChatScaleway(model="llama-3.3-70b-instruct", base_url=sandbox.scaleway_url, api_key="any")

    Args:
        engine: ``"scripted"`` (rules, else echoes; instant), ``"local"`` (a small real model on this machine), or an
            :class:`~linkspan_sandbox.Engine` of your own.
        api_key: The only accepted key; default: any key that is not empty.
        rules: Rules for the scripted engine; more can be added while it runs.
        host: The address to listen on. Meant for loopback: the key is the only protection.
        port: The port; 0 for a free one.
        scaleway_options: Options of the Scaleway dialect where the service's behaviour varies.
        datacrunch_options: TGI version, limits and keep-alive of the DataCrunch dialect.
        llm_engine_options: Options of the LLM Engine dialect where deployments vary.
        most_requests: Keep only this many latest requests in ``requests``; ``None`` for all. The latest 64 MiB of
            bodies are kept.

    Raises:
        ConfigurationError: The engine's name is unknown, or another engine than the scripted one is given rules. On
            entering the block: the port is in use or the engine cannot start.
    """
    if engine == "scripted":
        chosen: Engine = ScriptedEngine(list(rules))
    elif engine == "local":
        chosen = LocalEngine()
    elif isinstance(engine, str):
        raise ConfigurationError(f'engine must be "scripted", "local" or an Engine, not {engine!r}')
    else:
        chosen = engine
    sandbox = Sandbox(
        chosen,
        api_key=api_key,
        host=host,
        port=port,
        scaleway_options=scaleway_options,
        llm_engine_options=llm_engine_options,
        datacrunch_options=datacrunch_options,
        most_requests=most_requests,
    )
    if engine != "scripted":
        for _ in rules:
            raise ConfigurationError(f'rules need the scripted engine, not engine="{chosen.name}"')
    return sandbox
