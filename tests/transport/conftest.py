"""Both faces of the client behind one set of words, so that each behaviour is tested sync and async alike."""

from __future__ import annotations

import gc
import ssl
import subprocess
import warnings
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan.errors import InvalidResponseError, LinkspanError, error_class_for_status
from linkspan.transport import HttpClient, HttpRequest, HttpResponse
from tests.support.loopback import PATIENCE, LoopbackServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

KEY = "sk-very-secret-0123456789"


def decode_error(response: HttpResponse) -> LinkspanError:
    if 200 <= response.status_code < 300:
        return InvalidResponseError(f"not a stream: {response.text[:200]}", provider="test", body=response.text)
    cls = error_class_for_status(response.status_code)
    return cls(response.text, provider="test", status_code=response.status_code)


class Face:
    """One of the client's two faces. ``received`` holds the events of the latest stream, also of one that failed."""

    def __init__(self, name: str, client: HttpClient | None = None) -> None:
        self.name = name
        self.client = client or HttpClient()
        self.received: list[bytes] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        if self.name == "sync":
            return self.client.send(request)
        return await self.client.asend(request)

    async def stream(
        self,
        request: HttpRequest,
        *,
        stop: Callable[[bytes], bool] = lambda _: False,
        drain: bool = False,
    ) -> list[bytes]:
        self.received = []
        if self.name == "sync":
            with self.client.stream(request) as events:
                for event in (item for batch in events.batches() for item in batch):
                    self.received.append(event)
                    if stop(event):
                        break
                if drain:
                    events.drain()
        else:
            async with self.client.astream(request) as events:
                async for event in (item async for batch in events.batches() for item in batch):
                    self.received.append(event)
                    if stop(event):
                        break
                if drain:
                    await events.drain()
        return self.received

    async def close(self) -> None:
        if self.name == "sync":
            self.client.close()
        else:
            await self.client.aclose()


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as server:
        yield server


@pytest.fixture(params=["sync", "async"])
async def face(request: pytest.FixtureRequest) -> AsyncIterator[Face]:
    face = Face(request.param)
    yield face
    await face.close()


@contextmanager
def nothing_unclosed(*servers: LoopbackServer) -> Iterator[None]:
    """Fail if a connection to one of the servers is left for the garbage collector to close.

    What other tests left (other libraries' databases, event loops, sockets) is collected in whatever test comes next,
    so only these servers' ports count.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    ports = [f"', {server.port})" for server in servers]
    unclosed = [str(warning.message) for warning in caught]
    assert [message for message in unclosed if any(port in message for port in ports)] == []


@pytest.fixture
def ask(server: LoopbackServer) -> Callable[..., HttpRequest]:
    """Make a request to the server; keyword arguments replace the defaults."""

    def make(path: str = "/v1/chat", **fields: Any) -> HttpRequest:
        defaults: dict[str, Any] = {
            "url": server.url + path,
            "provider": "test",
            "headers": {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
            "content": b'{"prompt":"a secret prompt"}',
            "timeout": PATIENCE,
            "connect_timeout": PATIENCE,
            "max_retries": 0,
            "decode_error": decode_error,
        }
        return HttpRequest(**(defaults | fields))

    return make


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let retries not wait; the seconds they would have waited are in the list."""
    seconds: list[float] = []

    async def async_sleep(delay: float) -> None:
        seconds.append(delay)

    monkeypatch.setattr("linkspan.transport.retries.sleep", seconds.append)
    monkeypatch.setattr("linkspan.transport.retries.async_sleep", async_sleep)
    return seconds


@pytest.fixture
def patient_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connecting take long, so that a short ``timeout=`` ends what the test is about, also on a busy machine."""
    timeout = httpx.Timeout
    monkeypatch.setattr(
        httpx, "Timeout", lambda **seconds: timeout(**(seconds | {"connect": PATIENCE, "pool": PATIENCE}))
    )


class Clock:
    """Tells the time, and can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the deadlines. The system's, which waits for bytes, goes on as ever."""
    clock = Clock()
    monkeypatch.setattr("linkspan.transport.deadline.monotonic", clock)
    return clock


@pytest.fixture(scope="session")
def tls_certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    paths = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *paths],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("needs the openssl command to make a certificate")
    return directory


@pytest.fixture
def tls_context(tls_certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls_certificate / "cert.pem", tls_certificate / "key.pem")
    return context


@pytest.fixture
def tls_server(tls_context):
    with LoopbackServer(tls=tls_context) as server:
        yield server
