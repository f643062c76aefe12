"""The clients behind an HttpClient: loops, threads, processes, copies, clients passed in, closing."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from linkspan.errors import APIConnectionError, ConfigurationError, RateLimitError
from linkspan.transport import HttpClient
from linkspan.transport.clients import shared_tls_context
from tests.support.loopback import PATIENCE, UntilClosed, event, event_stream, head, http


def test_two_event_loops_one_after_the_other(server, ask):
    server.always(http(200, b"fine"))
    client = HttpClient()
    for _ in range(3):
        assert asyncio.run(client.asend(ask(max_retries=0))).content == b"fine"
    assert len(server.requests) == 3


def test_event_loops_closed_without_ceremony(server, ask):
    server.always(http(200, b"fine"))
    client = HttpClient()
    for _ in range(3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(client.asend(ask(max_retries=0))).content == b"fine"
        loop.run_until_complete(client.aclose())
        loop.close()
    assert len(server.requests) == 3


def test_event_loops_at_the_same_time(server, ask):
    server.always(http(200, b"fine"))
    client = HttpClient()

    async def several():
        return [answer.content for answer in await asyncio.gather(*(client.asend(ask()) for _ in range(5)))]

    with ThreadPoolExecutor(4) as threads:
        answers = [task.result() for task in [threads.submit(asyncio.run, several()) for _ in range(4)]]
    assert answers == [[b"fine"] * 5] * 4
    assert len(server.requests) == 20


def test_nothing_is_left_behind_when_a_loop_ends(server):
    # In a process of its own: warnings of collected objects appear wherever the collector happens to run.
    server.always(*event_stream(b"one"))
    script = f"""
        import asyncio, gc
        from linkspan.transport import HttpClient, HttpRequest

        request = HttpRequest(url={server.url!r}, provider="test", headers={{}}, decode_error=lambda response: None)

        async def ask(client):
            async with client.astream(request) as events:
                return [event async for batch in events.batches() for event in batch]

        async def ask_and_forget():
            await ask(HttpClient())
            gc.collect()
            await asyncio.sleep(0)

        client = HttpClient()
        for _ in range(2):
            print(asyncio.run(ask(client)))
        asyncio.run(ask_and_forget())
        with client.stream(request) as events:
            print([event for batch in events.batches() for event in batch])
        del client
        gc.collect()
    """
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "always",
            "-c",
            textwrap.dedent(script),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert done.stdout.splitlines() == ["[b'one', b'[DONE]']"] * 3
    assert "Warning" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_connections_of_a_loop_are_closed_with_it(server, ask):
    server.always(http(200))
    client = HttpClient()
    asyncio.run(client.asend(ask()))
    assert server.wait_closed()


async def test_connections_of_a_dropped_client_are_closed(server, ask):
    server.always(http(200))
    client = HttpClient()
    await client.asend(ask())
    client.send(ask())
    del client
    gc.collect()
    assert await asyncio.to_thread(server.wait_closed, 0)
    assert await asyncio.to_thread(server.wait_closed, 1)


async def test_sync_call_inside_a_running_loop(server, ask):
    server.always(http(200, b"fine"))
    client = HttpClient()
    assert client.send(ask()).content == b"fine"
    assert (await client.asend(ask())).content == b"fine"
    await client.aclose()


def test_threads_share_one_client_and_its_connections(server, ask):
    server.always(http(200, b"fine"))
    client = HttpClient()
    start = threading.Barrier(8)

    def several():
        start.wait()
        return [client.send(ask()).content for _ in range(5)]

    with ThreadPoolExecutor(8) as threads:
        answers = [task.result() for task in [threads.submit(several) for _ in range(8)]]
    assert answers == [[b"fine"] * 5] * 8
    assert len(server.requests) == 40
    assert server.connections <= 8
    client.close()


async def test_connections_are_kept_between_calls(server, face, ask):
    server.always(http(200))
    for _ in range(5):
        await face.send(ask())
    assert server.connections == 1


async def test_closing_closes_and_the_next_call_works(server, face, ask):
    server.always(http(200, b"fine"))
    await face.send(ask())
    await face.close()
    await face.close()
    assert await asyncio.to_thread(server.wait_closed, 0)
    assert (await face.send(ask())).content == b"fine"
    assert server.connections == 2


async def test_aclose_closes_what_sync_calls_opened_and_close_what_async_calls_did(server, ask):
    server.always(http(200))
    client = HttpClient()
    client.send(ask())
    await client.aclose()
    assert await asyncio.to_thread(server.wait_closed, 0)
    await client.asend(ask())
    client.close()
    assert await asyncio.to_thread(server.wait_closed, 1)


def test_closing_what_was_never_used():
    client = HttpClient()
    client.close()
    asyncio.run(client.aclose())


async def test_many_streams_at_once(server, ask):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1024:
        pytest.skip("needs 1024 file descriptors for both ends of 200 connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1024), hard))
    # Twice as many as httpx allows by default.
    count = 200
    everyone = threading.Barrier(count)

    def respond(_request):
        everyone.wait(PATIENCE)  # no stream begins before all have been asked for
        return [head(), event(b"one"), event(b"[DONE]"), b"0\r\n\r\n"]

    server.respond = respond
    client = HttpClient()

    async def read():
        async with client.astream(ask(timeout=PATIENCE)) as events:
            return [item async for batch in events.batches() for item in batch]

    try:
        answers = await asyncio.gather(*(read() for _ in range(count)))
        await client.aclose()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answers == [[b"one", b"[DONE]"]] * count


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_processes_make_their_own_connections(server, ask):
    server.always(http(200, b"fine"))
    client = HttpClient()
    client.send(ask())
    asyncio.run(client.asend(ask()))
    pid = os.fork()
    if pid == 0:  # pragma: no cover  # measured in the parent only
        try:
            right = client.send(ask()).content == b"fine"
            right = right and asyncio.run(client.asend(ask())).content == b"fine"
        finally:
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.send(ask()).content == b"fine"
    used = [request.connection for request in server.requests]
    assert used[0] == used[4]  # the parent's is as it was
    assert len(set(used)) == 4
    client.close()


async def test_clients_passed_in_are_used_and_not_closed(server, ask):
    server.always(http(200, b"fine"))
    with httpx.Client(headers={"x-own": "sync", "user-agent": "mine"}) as own:
        async with httpx.AsyncClient(headers={"x-own": "async"}) as async_own:
            client = HttpClient(http_client=own, http_async_client=async_own)
            client.send(ask())
            await client.asend(ask())
            client.close()
            await client.aclose()
            assert not own.is_closed
            assert not async_own.is_closed
            client.send(ask())
    assert [request.headers["x-own"] for request in server.requests] == ["sync", "async", "sync"]
    assert server.requests[0].headers["user-agent"] == "mine"
    assert server.requests[1].headers["user-agent"].startswith("linkspan/")
    with pytest.raises(ConfigurationError, match="http_client is closed"):
        client.send(ask())
    with pytest.raises(ConfigurationError, match="http_async_client is closed"):
        await client.asend(ask())


async def test_clients_passed_in_must_be_of_their_type():
    async with httpx.AsyncClient() as async_own:
        with pytest.raises(ConfigurationError, match=r"http_client must be an httpx\.Client, not AsyncClient"):
            HttpClient(http_client=async_own)
    with httpx.Client() as own, pytest.raises(ConfigurationError, match="http_async_client must be"):
        HttpClient(http_async_client=own)


async def test_client_passed_in_whose_hook_reads_the_answer(server, ask):
    server.always(*event_stream(b"one"))
    seen = []

    async def aread(response):
        seen.append(await response.aread())

    with httpx.Client(event_hooks={"response": [lambda response: seen.append(response.read())]}) as own:
        async with httpx.AsyncClient(event_hooks={"response": [aread]}) as async_own:
            client = HttpClient(http_client=own, http_async_client=async_own)
            with client.stream(ask()) as events:
                assert [item for batch in events.batches() for item in batch] == [b"one", b"[DONE]"]
                events.drain()
            async with client.astream(ask()) as async_events:
                assert [item async for batch in async_events.batches() for item in batch] == [b"one", b"[DONE]"]
                await async_events.drain()
    assert len(seen) == 2


@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
async def test_an_answer_refused_by_a_hook_of_a_client_passed_in(server, ask, reads):
    server.always(http(429, b"slow down", headers={"retry-after": "0"}))

    def refuse(response):
        if reads:
            response.read()
        response.raise_for_status()

    async def arefuse(response):
        if reads:
            await response.aread()
        response.raise_for_status()

    request = ask(headers={"authorization": "Bearer a-secret-key"}, max_retries=1)
    with httpx.Client(event_hooks={"response": [refuse]}) as own:
        async with httpx.AsyncClient(event_hooks={"response": [arefuse]}) as async_own:
            client = HttpClient(http_client=own, http_async_client=async_own)
            with pytest.raises(RateLimitError) as caught:
                client.send(request)
            with pytest.raises(RateLimitError) as async_caught:
                await client.asend(request)
    for error in (caught.value, async_caught.value):
        assert (error.message, error.retry_after) == ("slow down" if reads else "", 0)
        assert error.__cause__ is None
        assert not isinstance(error.__context__, httpx.HTTPError)
    assert len(server.requests) == 4


async def test_an_answer_used_up_by_a_hook_of_a_client_passed_in(server, ask):
    server.always(*event_stream(b"one"))

    async def ause_up(response):
        async for _ in response.aiter_raw():
            pass

    with httpx.Client(event_hooks={"response": [lambda response: list(response.iter_raw())]}) as own:
        async with httpx.AsyncClient(event_hooks={"response": [ause_up]}) as async_own:
            client = HttpClient(http_client=own, http_async_client=async_own)
            with pytest.raises(ConfigurationError, match=r"response\.read\(\)"), client.stream(ask()):
                pytest.fail("a stream without events")
            with pytest.raises(ConfigurationError, match=r"response\.read\(\)"):
                await client.asend(ask())


def test_an_async_client_passed_in_belongs_to_one_event_loop(server, ask):
    server.always(http(200, b"fine"))
    client = HttpClient(http_async_client=httpx.AsyncClient())
    assert asyncio.run(client.asend(ask())).content == b"fine"
    with pytest.raises(ConfigurationError, match="cannot be used on this event loop"):
        asyncio.run(client.asend(ask()))


@pytest.mark.parametrize(
    "words", ["<Future> attached to a different loop", "<Lock> is bound to a different event loop"]
)
async def test_asyncios_other_words_for_another_event_loop(ask, words):
    async def refuse(request):
        raise RuntimeError(words)

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as own:
        with pytest.raises(ConfigurationError, match="cannot be used on this event loop"):
            await HttpClient(http_async_client=own).asend(ask())


async def test_client_passed_in_with_a_transport_that_is_no_socket(ask):
    body = b"data: one\n\ndata: [DONE]\n\n"
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    with httpx.Client(transport=transport) as own:
        async with httpx.AsyncClient(transport=transport) as async_own:
            client = HttpClient(http_client=own, http_async_client=async_own)
            with client.stream(ask()) as events:
                assert next(events.batches())[0] == b"one"
                events.drain()
            async with client.astream(ask()) as events:
                assert [item async for batch in events.batches() for item in batch] == [b"one", b"[DONE]"]


def test_one_tls_context_for_all(monkeypatch):
    with ThreadPoolExecutor(4) as threads:
        contexts = {id(task.result()) for task in [threads.submit(shared_tls_context) for _ in range(8)]}
    assert len(contexts) == 1


def test_proxy_of_the_environment_is_used(server, ask, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server.answer(*event_stream(b"one"))
    client = HttpClient()
    with client.stream(ask(url="http://model.internal/v1")) as events:
        assert [item for batch in events.batches() for item in batch] == [b"one", b"[DONE]"]
    client.close()
    assert server.requests[0].target == "http://model.internal/v1"


async def test_reader_left_open_does_not_keep_others_waiting(server, face, ask):
    server.answer(head(), event(b"one"), UntilClosed())
    server.answer(http(200, b"fine"))
    if face.name == "sync":
        with face.client.stream(ask()):
            assert (await face.send(ask())).content == b"fine"
    else:
        async with face.client.astream(ask()):
            assert (await face.send(ask())).content == b"fine"


async def test_the_next_address_of_a_host_is_tried_where_one_refuses(server, ask, monkeypatch):
    server.always(http(200, b"fine"))
    asked = []

    async def getaddrinfo(host, port, **_):
        asked.append(host)
        addresses = [("127.0.0.9", port), ("127.0.0.1", port)] if host == "two.test" else [("127.0.0.9", port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    client = HttpClient()
    assert (await client.asend(ask(url=f"http://two.test:{server.port}/"))).content == b"fine"
    with pytest.raises(APIConnectionError, match=r"No connection to one\.test"):
        await client.asend(ask(url=f"http://one.test:{server.port}/"))
    assert asked == ["two.test", "one.test"]
    await client.aclose()
