"""Forks, cancelled calls, nest_asyncio, trio, and clients that are closed beside running calls."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from linkspan.endpoint_slot import EndpointSlot
from linkspan.errors import APIConnectionError, ConfigurationError, InterruptedStreamError, LinkspanError
from linkspan.locks import ForkSafeLock
from linkspan.transport import HttpClient, HttpRequest, transports
from tests.support.loopback import Close, Delay, UntilClosed, event, head, http
from tests.transport.conftest import nothing_unclosed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("lock", [EndpointSlot().lock, ForkSafeLock()])
def test_a_child_forked_while_a_thread_holds_a_lock_can_take_it(lock):
    held, release = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert held.wait(10)
    pid = os.fork()
    if pid == 0:  # pragma: no cover  # measured in the parent only
        with lock:
            os._exit(0)
    release.set()
    thread.join(10)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("call", ["client.send(request)", "asyncio.run(client.asend(request))"])
def test_a_child_forked_beside_a_first_call_can_call(server, call):
    server.always(http(200, b"fine"))
    done = run(f"""
        import asyncio, importlib.abc, os, signal, sys, threading
        from linkspan.transport import HttpClient, HttpRequest

        loading, forking = threading.Event(), threading.Event()

        class Slow(importlib.abc.MetaPathFinder):
            def find_spec(self, name, *_):
                if name == "httpcore":
                    loading.set()
                    forking.wait(30)

        sys.meta_path.insert(0, Slow())
        os.register_at_fork(before=forking.set)
        request = HttpRequest(url={server.url!r}, provider="test", headers={{}}, decode_error=lambda response: None)
        client = HttpClient()
        thread = threading.Thread(target=lambda: print({call}.content))
        thread.start()
        loading.wait(30)
        pid = os.fork()
        if not pid:
            signal.alarm(60)
        else:
            thread.join()
            assert os.waitpid(pid, 0)[1] == 0
        print({call}.content)
    """)
    assert done.stderr == ""
    assert done.stdout.count("b'fine'") == 3


@pytest.fixture(params=["http", "https"])
def any_server(request, server, monkeypatch):
    if request.param == "http":
        return server
    monkeypatch.setenv("SSL_CERT_FILE", str(request.getfixturevalue("tls_certificate") / "cert.pem"))
    return request.getfixturevalue("tls_server")


@pytest.mark.parametrize("answer", [http(200, b"fine"), Close()], ids=["answers", "closes"])
async def test_calls_cancelled_at_any_turn_of_the_loop_give_their_place_back(any_server, ask, monkeypatch, answer):
    server = any_server
    monkeypatch.setattr(transports, "MAX_CONNECTIONS", 2)
    server.always(answer)
    client = HttpClient()
    with nothing_unclosed(server):
        for turns in range(45):
            tasks = [asyncio.create_task(client.asend(ask(url=server.url))) for _ in range(2)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    # Were a place lost, this would wait for it until its timeout.
    server.always(http(200, b"fine"))
    answers = await asyncio.gather(*(client.asend(ask(url=server.url, timeout=20)) for _ in range(2)))
    assert [answer.content for answer in answers] == [b"fine"] * 2
    await client.aclose()
    if isinstance(answer, bytes):  # otherwise the server closed most of them
        for connection in range(server.connections):
            assert await asyncio.to_thread(server.wait_closed, connection)


def test_a_client_that_ends_with_its_loop_closes_all_connections(any_server, ask):
    server = any_server
    server.always(Delay(0.02), http(200, b"fine"))

    async def main():
        client = HttpClient()  # not closed by hand
        return await asyncio.gather(*(client.asend(ask(url=server.url)) for _ in range(4)))

    with nothing_unclosed(server):
        assert len(asyncio.run(main())) == 4
    assert server.connections == 4


def test_readers_that_leave_early_are_not_complained_of(server):
    server.always(head(), event(b"one"), event(b"two"), UntilClosed())
    done = run(f"""
        import asyncio, sys, threading
        from linkspan.owned_generator import OwnedGenerator
        from linkspan.transport import HttpClient, HttpRequest

        request = HttpRequest(url={server.url!r}, provider="test", headers={{}}, decode_error=lambda response: None)
        client = HttpClient()

        async def events():
            async with client.astream(request) as stream:
                async for batch in stream.batches():
                    for event in batch:
                        yield event

        async def outer():
            async with OwnedGenerator(events()) as stream:
                async for event in stream:
                    yield event

        async def leave():
            async for event in outer():
                print(event)
                break

        async def keep():
            kept.append(outer())
            print(await anext(kept[0]))

        kept = []
        asyncio.run(leave())
        asyncio.run(keep())

        def read_on():
            with client.stream(request) as stream:
                for batch in stream.batches():
                    print(*batch, flush=True)
                    reading.set()

        reading = threading.Event()
        threading.Thread(target=read_on, daemon=True).start()
        reading.wait(30)
    """)
    assert done.stderr == ""
    assert done.stdout.count("b'one'") == 3
    assert done.returncode == 0
    for connection in range(3):
        assert server.wait_closed(connection)


async def test_a_stream_cancelled_while_it_is_put_away_after_a_failure_gives_its_place_back(server, ask, monkeypatch):
    monkeypatch.setattr(transports, "MAX_CONNECTIONS", 1)
    client = HttpClient()

    async def read():
        async with client.astream(ask(timeout=20)) as events:
            async for _ in events.batches():
                pass

    server.always(head() + event(b"one") + b"x\r\n", Close())  # the end comes together with the event
    for turns in range(80):
        task = asyncio.create_task(read())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    server.always(http(200, b"fine"))
    assert (await client.asend(ask(timeout=20))).content == b"fine"
    await client.aclose()


def test_closing_beside_threads_that_wait_wakes_them(server, ask):
    server.always(head(), event(b"one"), UntilClosed())
    client = HttpClient()
    waiting = threading.Barrier(9)

    def read():
        with client.stream(ask(timeout=60)) as events:
            batches = events.batches()
            next(batches)
            waiting.wait(30)
            list(batches)

    def wait_for_an_answer():
        waiting.wait(30)
        client.send(ask("/silent", timeout=60))

    def respond(received):
        return [UntilClosed()] if received.path == "/silent" else [head(), event(b"one"), UntilClosed()]

    server.respond = respond
    with ThreadPoolExecutor(8) as threads:
        streams = [threads.submit(read) for _ in range(4)]
        calls = [threads.submit(wait_for_an_answer) for _ in range(4)]
        waiting.wait(30)
        server.wait_requests(8)
        client.close()
        for stream in streams:
            with pytest.raises(InterruptedStreamError):
                stream.result(30)
        for call in calls:
            with pytest.raises(APIConnectionError):
                call.result(30)


def test_closing_again_and_again_beside_threads_that_call(server, ask):
    server.always(http(200, b"fine"))
    client = HttpClient()
    done = threading.Event()

    def call():
        outcomes = []
        for _ in range(40):
            try:
                outcomes.append(client.send(ask(timeout=60)).content)
            except LinkspanError as error:  # noqa: PERF203
                outcomes.append(type(error))
        return outcomes

    def close():
        while not done.wait(0.002):
            client.close()

    closer = threading.Thread(target=close, daemon=True)
    closer.start()
    with ThreadPoolExecutor(4) as threads:
        outcomes = [outcome for task in [threads.submit(call) for _ in range(4)] for outcome in task.result(60)]
    done.set()
    closer.join(10)
    assert set(outcomes) <= {b"fine", APIConnectionError}
    assert client.send(ask()).content == b"fine"
    client.close()


async def test_closing_again_and_again_beside_tasks_that_call(server, ask):
    server.always(http(200, b"fine"))
    client = HttpClient()

    async def call():
        outcomes = []
        for _ in range(25):
            try:
                outcomes.append((await client.asend(ask(timeout=60))).content)
            except LinkspanError as error:  # noqa: PERF203
                outcomes.append(type(error))
        return outcomes

    async def close():
        while True:
            for _ in range(40):
                await asyncio.sleep(0)
            await client.aclose()

    closer = asyncio.create_task(close())
    outcomes = [one for many in await asyncio.gather(*(call() for _ in range(6))) for one in many]
    closer.cancel()
    assert set(outcomes) <= {b"fine", APIConnectionError}
    assert (await client.asend(ask())).content == b"fine"
    await client.aclose()


def run(program: str) -> subprocess.CompletedProcess[str]:
    # From 3.12 on, Python warns of any fork beside a thread, which is what some programs try.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("end", ["pass", "loop.close()"])
def test_nothing_is_complained_of_under_nest_asyncio(server, end):
    pytest.importorskip("nest_asyncio")
    server.always(http(200, b"fine"))
    done = run(f"""
        import asyncio, gc, nest_asyncio
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        nest_asyncio.apply()
        from linkspan.transport import HttpClient, HttpRequest

        request = HttpRequest(url={server.url!r}, provider="test", headers={{}}, decode_error=lambda response: None)
        for way_to_end in ("del client; gc.collect()", "asyncio.run(client.aclose())", {end!r}):
            client = HttpClient()
            for _ in range(2):
                print(asyncio.run(client.asend(request)).content)
            exec(way_to_end)
    """)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["b'fine'"] * 6
    assert all(server.wait_closed(connection) for connection in range(3))
    assert server.connections == 3


@pytest.mark.parametrize("call", ["asend", "astream", "aclose"])
def test_async_calls_outside_asyncio_are_refused_by_name(call):
    request = HttpRequest(
        url="http://127.0.0.1:9", provider="test", headers={}, decode_error=lambda _: LinkspanError("no")
    )
    client = HttpClient()
    work = {
        "asend": lambda: client.asend(request),
        "astream": lambda: client.astream(request).__aenter__(),
        "aclose": client.aclose,
    }[call]()
    with pytest.raises(ConfigurationError, match=r"need an asyncio event loop.* Under trio"):
        work.send(None)  # as trio runs a coroutine
