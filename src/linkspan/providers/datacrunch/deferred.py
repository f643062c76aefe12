"""Verda's asynchronous calls: hand a prompt over, ask how far it is, fetch the answer. Containers only.

The gateway before a container keeps the request in its queue and the answer until it is fetched, so that no connection
has to stay open while a replica starts. Source: DataCrunch reference, section 1.3 (``Prefer: respond-async``). What the
gateway says of a call that failed is not documented: any state without a word for it is an error here.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from linkspan.conversation import Completion
from linkspan.errors import APITimeoutError, InvalidResponseError
from linkspan.providers.datacrunch.errors import error_in
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.wire_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from linkspan.conversation import PromptRequest
    from linkspan.endpoint import Endpoint

__all__ = [
    "DeferredCall",
    "acall_status",
    "acomplete_deferred",
    "afetch",
    "asubmit",
    "call_status",
    "complete_deferred",
    "fetch",
    "submit",
]

COMPLETED = "Completed"
_UNDER_WAY = ("Initialized", "Queue", "Inference")
_ID_HEADER = "X-Inference-Id"
_PREFER = {"Prefer": "respond-async"}


@dataclass(frozen=True)
class DeferredCall:
    """A call that the gateway took over.

    Attributes:
        id: The gateway's id of it.
        status_path: Where it tells how far the call is, below the host.
        result_path: Where it hands out the answer, below the host.
        request: What was asked.
    """

    id: str
    status_path: str
    result_path: str
    request: PromptRequest = field(repr=False)


def submit(endpoint: Endpoint[PromptRequest], request: PromptRequest) -> DeferredCall | Completion:
    """Hand a prompt over. A server that does not defer calls answers at once: then that is the answer.

    Raises:
        LinkspanError: It was refused.
    """
    there = endpoint.beside(endpoint.base_url, _PREFER)
    path, body = _route(endpoint, request)
    return there.call(path, body, lambda content, headers: _read_submission(endpoint, request, content, headers))


async def asubmit(endpoint: Endpoint[PromptRequest], request: PromptRequest) -> DeferredCall | Completion:
    """Hand a prompt over: see :func:`submit`."""
    there = endpoint.beside(endpoint.base_url, _PREFER)
    path, body = _route(endpoint, request)
    return await there.acall(path, body, lambda content, headers: _read_submission(endpoint, request, content, headers))


def call_status(endpoint: Endpoint[PromptRequest], call: DeferredCall) -> str:
    """Ask how far a call is: ``Initialized``, ``Queue``, ``Inference`` or ``Completed``.

    Raises:
        InvalidResponseError: It is in a state that is none of these.
        LinkspanError: The gateway does not say.
    """
    return _for(endpoint, call).read(call.status_path, lambda body, headers: _read_status(endpoint, body, headers))


async def acall_status(endpoint: Endpoint[PromptRequest], call: DeferredCall) -> str:
    """Ask how far a call is: see :func:`call_status`."""
    there = _for(endpoint, call)
    return await there.aread(call.status_path, lambda body, headers: _read_status(endpoint, body, headers))


def fetch(endpoint: Endpoint[PromptRequest], call: DeferredCall) -> Completion:
    """Fetch the answer of a completed call.

    Raises:
        LinkspanError: The call failed, or is not completed.
    """
    decode = endpoint.codec.decode
    return _for(endpoint, call).read(call.result_path, lambda body, headers: decode(body, headers, call.request))


async def afetch(endpoint: Endpoint[PromptRequest], call: DeferredCall) -> Completion:
    """Fetch the answer of a completed call: see :func:`fetch`."""
    decode, there = endpoint.codec.decode, _for(endpoint, call)
    return await there.aread(call.result_path, lambda body, headers: decode(body, headers, call.request))


def complete_deferred(
    endpoint: Endpoint[PromptRequest],
    request: PromptRequest,
    *,
    on_status: Callable[[str], None] | None = None,
    poll_seconds: float = 1.0,
    max_seconds: float = 3600.0,
) -> Completion:
    """Ask for a whole answer without keeping a connection open for it.

    Args:
        endpoint: TGI's ``generate`` in a container.
        request: What to ask.
        on_status: Told the state after each look at it.
        poll_seconds: Time between two looks.
        max_seconds: Longest time to wait.

    Raises:
        APITimeoutError: It took longer; the call goes on at the gateway.
        LinkspanError: It failed.
    """
    call = submit(endpoint, request)
    if isinstance(call, Completion):
        return call
    deadline = time.monotonic() + max_seconds
    while not _is_completed(call_status(endpoint, call), on_status):
        _check_time(endpoint, call, deadline, max_seconds)
        time.sleep(poll_seconds)
    return fetch(endpoint, call)


async def acomplete_deferred(
    endpoint: Endpoint[PromptRequest],
    request: PromptRequest,
    *,
    on_status: Callable[[str], None] | None = None,
    poll_seconds: float = 1.0,
    max_seconds: float = 3600.0,
) -> Completion:
    """Ask for a whole answer without keeping a connection open for it: see :func:`complete_deferred`."""
    call = await asubmit(endpoint, request)
    if isinstance(call, Completion):
        return call
    deadline = time.monotonic() + max_seconds
    while not _is_completed(await acall_status(endpoint, call), on_status):
        _check_time(endpoint, call, deadline, max_seconds)
        await asyncio.sleep(poll_seconds)
    return await afetch(endpoint, call)


def _route(endpoint: Endpoint[PromptRequest], request: PromptRequest) -> tuple[str, dict[str, Any]]:
    codec = endpoint.codec
    return codec.path(request, stream=False), codec.encode(request, stream=False)


def _for(endpoint: Endpoint[PromptRequest], call: DeferredCall) -> Endpoint[PromptRequest]:
    parts = urlsplit(endpoint.base_url)
    return endpoint.beside(f"{parts.scheme}://{parts.netloc}", {_ID_HEADER: call.id})


def _read_submission(
    endpoint: Endpoint[PromptRequest], request: PromptRequest, body: bytes, headers: Mapping[str, str]
) -> DeferredCall | Completion:
    provider = endpoint.codec.provider
    parsed = parse_json(body, provider)
    if not isinstance(parsed, dict) or "Id" not in parsed:
        return endpoint.codec.decode(body, headers, request)
    paths = [parsed.get("StatusPath"), parsed.get("ResultPath")]
    if not all(isinstance(path, str) and path.startswith("/") for path in paths):
        # The key goes along, so an address of another host is no place to ask.
        raise InvalidResponseError(
            f"{provider}: the gateway took the call over, but does not say where to ask for it.",
            provider=provider,
            request_id=str(parsed["Id"]),
        )
    return DeferredCall(str(parsed["Id"]), str(paths[0]), str(paths[1]), request)


def _read_status(endpoint: Endpoint[PromptRequest], body: bytes, headers: Mapping[str, str]) -> str:
    provider = endpoint.codec.provider
    parsed = parse_json(body, provider)
    state = parsed.get("Status") if isinstance(parsed, dict) else None
    if isinstance(state, str) and (state in _UNDER_WAY or state == COMPLETED):
        return state
    error = error_in(parsed, provider, headers)
    raise error or InvalidResponseError(
        f"{provider}: the call is in a state that is none of {', '.join(_UNDER_WAY)} and {COMPLETED}: {state!r}.",
        provider=provider,
        request_id=request_id_of(headers),
    )


def _is_completed(state: str, on_status: Callable[[str], None] | None) -> bool:
    if on_status is not None:
        on_status(state)
    return state == COMPLETED


def _check_time(endpoint: Endpoint[PromptRequest], call: DeferredCall, deadline: float, max_seconds: float) -> None:
    if time.monotonic() >= deadline:
        raise APITimeoutError(
            f"{endpoint.codec.provider}: the call is not completed after {max_seconds:g} s, and goes on at the "
            "gateway. Raise max_seconds, or fetch it later.",
            provider=endpoint.codec.provider,
            request_id=call.id,
            is_retryable=False,
        )
