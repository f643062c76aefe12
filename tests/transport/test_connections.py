"""How bytes travel below HTTP: connecting, slow readers and writers, TLS, connections that end unnoticed.

Async calls have connections of linkspan's own; the behaviour of both faces is the same.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import contextmanager

import pytest

from linkspan.errors import APIConnectionError, APITimeoutError, InterruptedStreamError
from linkspan.transport import HttpClient
from tests.support.loopback import END, PATIENCE, Close, Cut, UntilClosed, chunk, event, event_stream, head, http
from tests.transport.conftest import nothing_unclosed


@contextmanager
def silent_listener():
    """A port that takes connections and never says or reads anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as listener:
        yield listener.getsockname()[1]


@contextmanager
def answering_listener(answer):
    """A port that answers whatever comes first with these bytes, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(10)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE)


async def test_long_answers_and_long_requests(server, face, ask):
    body = bytes(range(256)) * 20_000
    server.answer(http(200, body))
    assert (await face.send(ask(content=body))).content == body
    assert server.requests[0].body == body


@pytest.fixture
def small_buffers(monkeypatch):
    """Let the system hold little of what one side has not read; by itself it may hold tens of megabytes."""
    connect = socket.socket.connect

    def connect_with_small_buffer(sock, address):
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, buffer, 65536)
        return connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect", connect_with_small_buffer)


async def test_a_reader_that_pauses_slows_the_server(small_buffers, server, face, ask):
    sent = []
    all_sent = threading.Event()

    def script(_):
        yield head()
        for number in range(300):
            sent.append(number)
            yield event(b"x" * 65536)
        all_sent.set()
        yield b"0\r\n\r\n"

    def wait_until_it_stands_still():
        seen = -1
        while seen != len(sent):
            seen = len(sent)
            assert not all_sent.wait(0.2)
        assert len(sent) < 150, "more than the system's buffers hold"

    server.respond = script
    if face.name == "sync":
        with face.client.stream(ask()) as events:
            wait_until_it_stands_still()
            assert sum(len(item) for batch in events.batches() for item in batch) == 65536 * 300
    else:
        async with face.client.astream(ask()) as events:
            await asyncio.to_thread(wait_until_it_stands_still)
            assert sum([len(item) async for batch in events.batches() for item in batch]) == 65536 * 300


@pytest.mark.usefixtures("patient_connect")
async def test_a_server_that_does_not_take_the_request(face, ask):
    with silent_listener() as port, pytest.raises(APITimeoutError, match="did not read the request within"):
        await face.send(ask(url=f"http://127.0.0.1:{port}", content=b"x" * 50_000_000, timeout=0.3))


@pytest.mark.parametrize("last", [Close(), Cut()])
def test_an_idle_connection_that_the_server_closed_while_the_loop_stood_still(server, ask, last):
    closed = threading.Event()

    def script(_):
        yield http(200, b"fine")
        closed.set()
        yield last

    loop = asyncio.new_event_loop()
    client = HttpClient()
    for _ in range(3):
        server.respond = script
        assert loop.run_until_complete(client.asend(ask())).content == b"fine"
        assert closed.wait(PATIENCE)
        closed.clear()
        for thread in [one for one in threading.enumerate() if one.name.endswith("(_serve)")]:
            thread.join(PATIENCE)  # now it is closed
    loop.run_until_complete(client.aclose())
    loop.close()
    assert server.connections == 3


async def test_streams_over_tls(tls_server, tls_certificate, face, ask, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_certificate / "cert.pem"))
    body = b"y" * 3_000_000
    tls_server.answer(http(200, body))
    tls_server.answer(*event_stream(b"one", b"two"))
    tls_server.answer(head(), event(b"one"), UntilClosed())
    tls_server.answer(head(), event(b"one"), Cut())
    tls_server.answer(head(), event(b"one"), Close())
    assert (await face.send(ask(url=tls_server.url, content=body))).content == body
    assert await face.stream(ask(url=tls_server.url)) == [b"one", b"two", b"[DONE]"]
    assert tls_server.connections == 1
    assert await face.stream(ask(url=tls_server.url), stop=lambda _: True) == [b"one"]
    assert await asyncio.to_thread(tls_server.wait_closed)
    for _ in range(2):
        with pytest.raises(InterruptedStreamError):
            await face.stream(ask(url=tls_server.url))
        assert face.received == [b"one"]


async def test_a_server_that_does_not_speak_tls(face, ask):
    with answering_listener(http(400, b"HTTPS?")) as port, pytest.raises(APIConnectionError, match="No connection to"):
        await face.send(ask(url=f"https://127.0.0.1:{port}"))


async def test_a_tls_handshake_that_is_not_answered(face, ask):
    with silent_listener() as port, pytest.raises(APITimeoutError, match=r"No connection to .* within"):
        await face.send(ask(url=f"https://127.0.0.1:{port}", connect_timeout=0.2))


async def test_a_tls_handshake_that_breaks_off(face, ask):
    with answering_listener(b"") as port, pytest.raises(APIConnectionError, match="No connection to"):
        await face.send(ask(url=f"https://127.0.0.1:{port}"))


async def test_a_cancelled_tls_handshake_closes_its_connection(ask):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = HttpClient()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        call = asyncio.create_task(client.asend(ask(url=url)))
        connection, _ = await asyncio.to_thread(listener.accept)
        assert await asyncio.to_thread(connection.recv, 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        connection.settimeout(PATIENCE)
        while await asyncio.to_thread(connection.recv, 65536):
            pass  # the rest of its greeting, then the end
        connection.close()
        await client.aclose()


async def test_any_address_of_a_host_will_do(server, face, ask, monkeypatch):
    resolve = socket.getaddrinfo

    def two_addresses(host, port, *args, **kwargs):
        if host != "two.test":
            return resolve(host, port, *args, **kwargs)
        nobody = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port))]
        return nobody + resolve("127.0.0.1", port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    server.answer(http(200, b"fine"))
    assert (await face.send(ask(url=f"http://two.test:{server.port}"))).content == b"fine"


async def test_nothing_is_left_open_to_be_collected(tls_server, tls_certificate, server, ask, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_certificate / "cert.pem"))
    with nothing_unclosed(server, tls_server):
        for one in (server, tls_server):
            one.answer(http(200, b"fine"))
            one.answer(head(), event(b"one"), UntilClosed())
            client = HttpClient()
            await client.asend(ask(url=one.url))
            async with client.astream(ask(url=one.url)):
                pass
            await client.aclose()
            del client
            assert await asyncio.to_thread(one.wait_closed)


async def test_a_proxy_of_the_environment_is_used_for_async_calls(server, ask, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server.answer(*event_stream(b"one"))
    client = HttpClient()
    async with client.astream(ask(url="http://model.internal/v1")) as events:
        assert [item async for batch in events.batches() for item in batch] == [b"one", b"[DONE]"]
    await client.aclose()
    assert server.requests[0].target == "http://model.internal/v1"


SMUGGLED = [
    http(200, b"SMUGGLED"),
    http(200, b"SMUGGLED" * 20_000),
    http(204),
    b"HTTP/1.1 200 OK\r\ncontent-le",
    b"HTTP/1.1 100 Continue\r\n\r\n" + http(200, b"SMUGGLED"),
]


@pytest.mark.parametrize("first", ["length", "chunks", "stream", "decoys"])
@pytest.mark.parametrize("over_tls", [False, True])
async def test_an_answer_too_many_is_never_taken_for_the_next_one(  # noqa: PLR0917
    request, server, face, ask, monkeypatch, first, over_tls
):
    if over_tls:
        server = request.getfixturevalue("tls_server")
        monkeypatch.setenv("SSL_CERT_FILE", str(request.getfixturevalue("tls_certificate") / "cert.pem"))
    for place, smuggled in enumerate(SMUGGLED):
        answers = {
            "length": [http(200, b"answer 1") + smuggled],
            "chunks": [head(content_type=None) + chunk(b"answer 1") + END + smuggled],
            "stream": [b"".join(event_stream(b"answer 1")) + smuggled],
            "decoys": [http(200, b"HTTP/1.1 answer 1 " * 30) + smuggled],
        }
        server.answer(*answers[first])
        server.answer(http(200, b"answer 2"))
        server.answer(http(200, b"answer 3"))
        if first == "stream":
            assert await face.stream(ask(url=server.url), stop=lambda item: item == b"[DONE]", drain=True), smuggled
        else:
            assert b"answer 1" in (await face.send(ask(url=server.url))).content, smuggled
        assert (await face.send(ask(url=server.url))).content == b"answer 2", smuggled
        assert (await face.send(ask(url=server.url))).content == b"answer 3", smuggled
        assert len(server.requests) == 3 * (place + 1), smuggled
        # The next one's first answer comes over the connection that is left.
        assert server.connections == 2 + place, smuggled


async def test_answers_that_speak_of_http_keep_their_connection(server, face, ask):
    body = b"Send GET / HTTP/1.1 and read HTTP/1.1 200 OK. "
    server.always(http(200, body * 5))
    for _ in range(3):
        assert (await face.send(ask())).content == body * 5
    assert server.connections == 1


@pytest.fixture(params=["http", "https"])
def any_tls(request, monkeypatch):
    if request.param == "http":
        return None
    monkeypatch.setenv("SSL_CERT_FILE", str(request.getfixturevalue("tls_certificate") / "cert.pem"))
    return request.getfixturevalue("tls_context")


def timed(send, seconds, waits):
    """Append how long each call of a socket's method took."""

    def send_and_time(*args):
        began = seconds()
        sent = send(*args)
        waits.append(seconds() - began)
        return sent

    return send_and_time


@pytest.mark.usefixtures("small_buffers")
async def test_a_server_that_takes_a_long_request_steadily(face, ask, monkeypatch, any_tls):
    # What the server has taken tells the time here, so a busy machine changes nothing. It is longer than the timeout in
    # all, while no wait is.
    length, step, rate = 12_000_000, 1_000_000, 100_000
    assert length / rate > PATIENCE > 2 * step / rate
    taken, waits, looked = 0, [], threading.Event()

    def seconds():
        looked.set()
        return taken / rate

    if face.name == "sync":
        for cls in (socket.socket, ssl.SSLSocket):
            monkeypatch.setattr(cls, "send", timed(cls.send, seconds, waits))
    else:
        monkeypatch.setattr("linkspan.transport.asyncio_network.monotonic", seconds)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

        def serve():
            nonlocal taken
            connection, _ = listener.accept()
            if any_tls is not None:
                connection = any_tls.wrap_socket(connection, server_side=True)
            with connection:
                while taken < length and (data := connection.recv(1_000_000)):
                    before, taken = taken, taken + len(data)
                    # An async call looks again and again how much was taken; most of it may not go between two looks.
                    if face.name == "async" and before // step < taken // step < 8:
                        looked.clear()
                        assert looked.wait(PATIENCE)
                connection.sendall(http(200, b"taken"))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"{'http' if any_tls is None else 'https'}://127.0.0.1:{listener.getsockname()[1]}"
        assert (await face.send(ask(url=url, content=b"x" * length))).content == b"taken"
        thread.join(PATIENCE)
    assert max(waits, default=0) < PATIENCE
