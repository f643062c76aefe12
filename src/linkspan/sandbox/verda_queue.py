"""Verda's gateway before a container: calls with ``Prefer: respond-async`` wait in a queue for their turn.

Faithful to the DataCrunch reference, section 1.3: 202 with id and paths, ``X-Inference-Id``, ``Location``, the states.
Any other value of ``Prefer`` passes, and the call is synchronous; so are ``respond-async-proxy`` and
``respond-async-container`` here, whose answers are not documented.

What else is not documented is decided so: an answer that the container gave is ``Completed`` whatever its status, and
fetched with that status as often as it is asked for; a stream is kept as a whole; an unknown id, and an answer that is
not there yet, are 404.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkspan.sandbox.engine import ConnectionCut
from linkspan.sandbox.responses import json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message

    from linkspan.sandbox.keys import KeyCheck

    Handler: TypeAlias = Callable[[Request], Awaitable[ASGIApp]]

__all__ = ["VerdaQueue"]

_NAME = "container"
_ID = "x-inference-id"


class _Call:
    """A call that was taken over."""

    def __init__(self) -> None:
        self.id = str(uuid.uuid4())
        self.state = "Initialized"
        self.answer: Response | None = None


class VerdaQueue:
    """The queue of one deployment.

    Args:
        keys: Which keys the gateway accepts.
        at_once: Calls that the container works on at the same time; the others wait.
    """

    def __init__(self, keys: KeyCheck, at_once: int) -> None:
        self._keys = keys
        self._at_once = at_once
        self._calls: dict[str, _Call] = {}
        self._free = asyncio.Semaphore(at_once)
        #: The event loop itself keeps no task alive.
        self._tasks: set[asyncio.Task[None]] = set()

    def clear(self) -> None:
        """Forget all calls, those that are worked on too; from any thread."""
        tasks, self._tasks = self._tasks, set()
        self._calls, self._free = {}, asyncio.Semaphore(self._at_once)
        for task in list(tasks):
            loop = task.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

    def routes(self) -> list[BaseRoute]:
        """Where to ask: at the root of the host, as the gateway has it."""
        return [
            Route(f"/status/{_NAME}", self._status, methods=["GET"]),
            Route(f"/result/{_NAME}", self._result, methods=["GET"]),
        ]

    def before(self, handler: Handler) -> Handler:
        """Put the queue before one of the container's routes."""

        async def answer(request: Request) -> ASGIApp:
            wanted = request.headers.get("prefer", "").strip().lower() == "respond-async"
            if not wanted or not self._keys.accepts_bearer(request):
                return await handler(request)
            # Afterwards the body can be read as often as need be.
            await request.body()
            return self._take_over(handler, request)

        return answer

    def _take_over(self, handler: Handler, request: Request) -> Response:
        call = _Call()
        self._calls[call.id] = call
        task = asyncio.ensure_future(self._work(call, handler, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        paths = {"StatusPath": f"/status/{_NAME}", "ResultPath": f"/result/{_NAME}"}
        return json_response({"Id": call.id, **paths}, 202, {_ID: call.id, "location": paths["ResultPath"]})

    async def _work(self, call: _Call, handler: Handler, request: Request) -> None:
        call.state = "Queue"
        async with self._free:
            call.state = "Inference"
            try:
                call.answer = await _whole(await handler(request), request)
            except ConnectionCut:
                call.answer = json_response({"error": "the container closed the connection"}, 502)
            finally:
                # A fault of the sandbox's own is told as well, beside its traceback.
                call.answer = call.answer or json_response({"error": "the container failed"}, 500)
                call.state = "Completed"

    async def _status(self, request: Request) -> Response:
        call = self._find(request)
        return call if isinstance(call, Response) else json_response({"Id": call.id, "Status": call.state})

    async def _result(self, request: Request) -> Response:
        call = self._find(request)
        if isinstance(call, Response):
            return call
        return call.answer if call.answer is not None else json_response({"error": f"no result: {call.state}"}, 404)

    def _find(self, request: Request) -> _Call | Response:
        if not self._keys.accepts_bearer(request):
            return Response(b"", 401)
        found = self._calls.get(request.headers.get(_ID, ""))
        return found or json_response({"error": "no such call: X-Inference-Id must be the id of one"}, 404)


async def _whole(app: ASGIApp, request: Request) -> Response:
    """Let an answer run to its end, and keep it."""
    start: dict[str, Any] = {}
    body: list[bytes] = []

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            body.append(message.get("body", b""))

    await app(request.scope, request.receive, keep)
    answer = Response(b"".join(body), start["status"])
    length = (b"content-length", str(len(answer.body)).encode())
    answer.raw_headers = [*(header for header in start["headers"] if header[0] != length[0]), length]
    return answer
