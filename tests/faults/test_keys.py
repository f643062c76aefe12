"""No key anywhere: each kind of failure through each class and command, and everything searched that comes out."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import traceback
from functools import reduce
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from langchain_core.document_loaders import Blob
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.schema import NodeWithScore, TextNode
from typer.testing import CliRunner

from linkspan import langchain, llama_index
from linkspan.commands import app
from linkspan.errors import ConfigurationError, LinkspanError
from linkspan.langchain import ChatScaleway, LLMEngine
from linkspan.redaction import Secrets
from tests.faults.wire import CHAT_EVENTS, KEY, LANGCHAIN, LLAMA_INDEX, Api
from tests.support.loopback import Close, Cut, LoopbackServer, event_stream, head, http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PERCENT = quote(KEY, safe="")
WRITINGS = {
    "plain": KEY,
    "percent": PERCENT,
    "percent in lower case": PERCENT.replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
    "percent twice": quote(PERCENT, safe=""),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "basic": base64.b64encode(f"{KEY}:".encode()).decode(),
    "base64 of more": base64.b64encode(f"user:{KEY}!".encode()).decode(),
    "slashes escaped": KEY.replace("/", "\\/"),
    "unicode escapes": "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "html": KEY.replace("/", "&#47;").replace("+", "&#x2B;"),
    "html, every character": "".join(f"&#{ord(letter)};" for letter in KEY),
    "percent five times": reduce(lambda text, _: quote(text, safe=""), range(5), KEY),
    "html, names": KEY.replace("/", "&sol;").replace("+", "&plus;").replace("=", "&equals;"),
    "html, without semicolons": "".join(f"&#{ord(letter)}" for letter in KEY),
    "on two lines": f"{KEY[:14]}\\r\\n  {KEY[14:]}",
    "form": KEY.replace("+", " "),
    "html, every character, hexadecimal": "".join(f"&#x{ord(letter):x};" for letter in KEY),
}
#: What must not be seen: each writing, and a part of the key that a careless cut would leave.
FORBIDDEN = [*WRITINGS.values(), KEY[:12], WRITINGS["base64"][:16]]


def _error(**fields: Any) -> bytes:
    return json.dumps({"error": {"message": "no", **fields}}).encode()


def _failures() -> dict[str, list[Any]]:
    """Return scripts of the server by the kind of failure."""
    kinds: dict[str, list[Any]] = {}
    for name, text in WRITINGS.items():
        # As it stands in the JSON: escapes are for whoever reads it.
        kinds[f"message: {name}"] = [http(401, b'{"error": {"message": "bad key: %b."}}' % text.encode())]
    long = "x" * (1000 - len(KEY) // 2)
    kinds |= {
        "code": [http(400, _error(code=KEY, type=KEY))],
        "name": [http(400, json.dumps({"error": {"message": "no"}, KEY: {KEY: [KEY]}}).encode())],
        "request id": [http(400, _error(), headers={"x-request-id": KEY})],
        "request id in the body": [http(500, json.dumps({"request_id": KEY, "error": "no"}).encode())],
        "cut text": [http(400, _error(message=f"{long}{KEY}"))],
        "cut page": [http(502, f"<html>{long[6:]}{KEY}".encode())],
        "validation": [http(422, json.dumps({"detail": [{"loc": ["body", KEY], "msg": KEY, "type": KEY}]}).encode())],
        "headers": [
            http(
                403,
                _error(),
                headers={
                    "set-cookie": "sid=c00kie-value",
                    "www-authenticate": "hmac-value",
                    "x-api-key": "other-value",
                },
            )
        ],
        "redirect": [http(302, b"", headers={"location": f"https://x.example/{KEY}?key={PERCENT}"})],
        "redirect, percent": [http(302, b"", headers={"location": f"/{PERCENT}"})],
        "redirect, password": [http(302, b"", headers={"location": f"https://u:{KEY}@x.example/"})],
        "redirect, port": [http(302, b"", headers={"location": f"https://x.example:{KEY}/"})],
        "redirect, fragment": [http(302, b"", headers={"location": f"https://x.example/#{KEY}"})],
        "folded header": [
            f"HTTP/1.1 400 x\r\nx-said: {KEY[:14]}\r\n  {KEY[14:]}\r\ncontent-length: 0\r\n\r\n".encode()
        ],
        "reason": [f"HTTP/1.1 500 {KEY}\r\ncontent-length: 0\r\n\r\n".encode()],
        "status line": [f"HTTP/1.1 {KEY}\r\n\r\n".encode(), Close()],
        "header line": [f"HTTP/1.1 200 OK\r\n{KEY} {KEY}\r\n\r\n".encode(), Close()],
        "not JSON": [http(200, f"{'y' * (80 - len(KEY) // 2)}{KEY}".encode())],
        "error under 200": [http(200, _error(message=KEY, code=KEY))],
        "malformed": [http(200, json.dumps({"choices": [KEY], "output": KEY, "generated_text": [KEY]}).encode())],
        "reset": [Cut()],
        "first event": [*event_stream(_error(message=KEY, code=KEY))],
        "later event": [*event_stream(json.dumps(CHAT_EVENTS[1]).encode(), _error(message=KEY, code=KEY, param=KEY))],
        "event that is not JSON": [*event_stream(json.dumps(CHAT_EVENTS[1]).encode(), b"z" * 70 + KEY.encode())],
        "broken chunk": [head(), f"{KEY}\r\n".encode(), Close()],
    }
    return kinds


FAILURES = _failures()
#: Failures of answers that are no error's, which streams and whole answers meet in code of their own.
UNDER_200 = {
    *("not JSON", "error under 200", "malformed", "reset", "status line", "header line"),
    *("first event", "later event", "event that is not JSON", "broken chunk"),
}


#: What is read below all APIs, in one place each: by turns each API tries a third of them.
SHARED = [
    *(f"message: {name}" for name in WRITINGS),
    *("redirect", "redirect, percent", "redirect, password", "redirect, port", "redirect, fragment"),
    *("cut text", "cut page", "headers", "reason", "request id"),
]


def failures_for(number: int) -> dict[str, list[Any]]:
    """Return the failures that the API of this number tries."""
    left_out = {kind for place, kind in enumerate(SHARED) if place % 3 != number % 3}
    return {kind: script for kind, script in FAILURES.items() if kind not in left_out}


def everything(error: BaseException) -> Iterator[str]:
    """Return all that can be seen of an error, and of all that it was raised from."""
    yield "".join(traceback.format_exception(error))
    yield repr(pickle.dumps(error))
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or one is None:
            continue
        seen.add(id(one))
        yield f"{one!s} {one!r}"
        if isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, (list, tuple, set)):
            waiting += one
        elif isinstance(one, BaseException):
            waiting += [one.args, vars(one), one.__cause__, one.__context__, getattr(one, "response", None)]
        elif type(one).__module__.startswith(("linkspan", "httpx", "httpcore", "h11")):
            slots = [name for cls in type(one).__mro__ for name in getattr(cls, "__slots__", ())]
            waiting += [*getattr(one, "__dict__", {}).values(), *(getattr(one, name, None) for name in slots)]


def assert_clean(texts: Iterator[str] | list[str], *more: str) -> None:
    for text in texts:
        for forbidden in (*FORBIDDEN, "c00kie-value", "hmac-value", "other-value", *more):
            assert forbidden not in text, text[max(0, text.find(forbidden) - 200) :][:500]


def failure_of(call: Callable[[], Any]) -> LinkspanError | None:
    try:
        call()
    except LinkspanError as error:
        return error
    return None


def calls(model: Any) -> list[Callable[[], Any]]:
    if hasattr(model, "invoke"):
        return [lambda: model.invoke("x"), lambda: list(model.stream("x"))]
    return [lambda: model.chat([ChatMessage("x")]), lambda: list(model.stream_complete("x"))]


APIS = [
    *((f"langchain-{api.name}", api) for api in LANGCHAIN),
    *((f"llama_index-{api.name}", api) for api in LLAMA_INDEX),
]


@pytest.mark.parametrize(("number", "api"), list(enumerate(api for _, api in APIS)), ids=[name for name, _ in APIS])
def test_no_failure_shows_the_key(number: int, api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # httpcore's own lines show what a server sends; linkspan's and httpx's show nothing of it.
    caplog.set_level(logging.WARNING, "httpcore")
    failed = 0
    with LoopbackServer() as server:
        model = api.make(base_url=f"{server.url}/v1")
        tried = failures_for(number)
        for place, (kind, script) in enumerate(tried.items(), start=number):
            server.always(*script)
            # An error's status leads both to the same reader: a kind takes one way through an API, the other through
            # the next.
            for call in calls(model) if kind in UNDER_200 else [calls(model)[place % 2]]:
                error = failure_of(call)
                if error is not None:
                    failed += 1
                    assert_clean([f"{kind}: {text}" for text in everything(error)])
        model.close()
    assert failed > len(tried)
    assert_clean([record.getMessage() for record in caplog.records])


@pytest.mark.parametrize("api", [api for _, api in APIS], ids=[name for name, _ in APIS])
async def test_no_failure_of_an_async_call_shows_the_key(api: Api) -> None:
    with LoopbackServer() as server:
        model = api.make(base_url=f"{server.url}/v1")
        for kind in ("code", "cut text", "redirect", "status line", "header line", "not JSON", "reset", "broken chunk"):
            server.always(*FAILURES[kind])
            with pytest.raises(LinkspanError) as caught:
                await (model.ainvoke("x") if hasattr(model, "ainvoke") else model.acomplete("x"))
            assert_clean(list(everything(caught.value)))
        await model.aclose()


VECTORS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "langchain-embeddings": lambda fields: langchain.ScalewayEmbeddings(**fields).embed_query("x"),
    "langchain-rerank": lambda fields: langchain.ScalewayRerank(**fields).rerank(["x"], "y"),
    "llama_index-embeddings": lambda fields: llama_index.ScalewayEmbedding(**fields).get_query_embedding("x"),
    "llama_index-rerank": lambda fields: llama_index.ScalewayRerank(**fields).postprocess_nodes(
        [NodeWithScore(node=TextNode(text="x"))], query_str="y"
    ),
    "langchain-transcription": lambda fields: langchain.ScalewayTranscriptionParser(**fields).parse(
        Blob.from_data(b"fLaC")
    ),
    "llama_index-ocr": lambda fields: llama_index.ScalewayOCRReader(**fields).load_data(b"%PDF-"),
    "langchain-models": lambda fields: ChatScaleway(**fields).list_models(),
    "llama_index-info": lambda fields: llama_index.DataCrunch(**fields).info(),
}


@pytest.mark.parametrize(("number", "name"), list(enumerate(VECTORS)))
def test_no_failure_beside_chat_shows_the_key(number: int, name: str) -> None:
    with LoopbackServer() as server:
        fields = {"model": "m", "api_key": KEY, "base_url": server.url, "max_retries": 0}
        for kind, script in failures_for(number).items():
            server.always(*script)
            error = failure_of(lambda: VECTORS[name](fields))
            assert error is not None, kind
            assert_clean([f"{kind}: {text}" for text in everything(error)])


def test_an_unreachable_server_keeps_the_request_to_itself() -> None:
    model = ChatScaleway(model="m", api_key=KEY, base_url="http://127.0.0.1:9/v1", max_retries=0)
    with pytest.raises(LinkspanError) as caught:
        model.invoke("x")
    assert_clean(list(everything(caught.value)))


@pytest.mark.parametrize("target", ["http://127.0.0.2:81/v1", "https://127.0.0.2:81/v1"])
@pytest.mark.parametrize("make", [ChatScaleway, llama_index.Scaleway], ids=["langchain", "llama_index"])
def test_what_a_proxy_repeats_of_its_password_is_not_shown(
    make: type[Any], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "pr0xy/pa55-0123456789"
    encoded = base64.b64encode(f"user:{password}".encode()).decode()
    repeated = f"{encoded} {password}"
    scripts: list[list[Any]] = [
        [http(407, repeated.encode(), headers={"proxy-authenticate": encoded, "x-said": repeated})],
        [f"HTTP/1.1 502 {repeated}\r\ncontent-length: 0\r\n\r\n".encode()],
        [f"{repeated}\r\n\r\n".encode(), Close()],
        [http(302, b"", headers={"location": f"http://user:{quote(password, safe='')}@x/{encoded}"})],
    ]
    with LoopbackServer() as server:
        monkeypatch.setenv("ALL_PROXY", f"http://user:{quote(password, safe='')}@127.0.0.1:{server.port}")
        model = make(model="m", api_key=KEY, base_url=target, max_retries=0)
        for script in scripts:
            server.always(*script)
            for call in calls(model):
                error = failure_of(call)
                assert error is not None
                assert_clean(list(everything(error)), password, encoded, quote(password, safe=""))
        model.close()


GATEWAY_KEY = "gw-5ecret-0123456789"
BASIC = base64.b64encode(f"user:{GATEWAY_KEY}".encode()).decode()
CREDENTIALS = [
    *((name, GATEWAY_KEY) for name in ("X-Gateway-Token", "X-Amz-Signature", "Proxy-Authorization", "X-Secret")),
    *((name, GATEWAY_KEY) for name in ("X-Auth", "X-JWT", "Subscription-Key", "X-Passphrase")),
    *((name, GATEWAY_KEY) for name in ("X-User-Pass", "X-PIN", "X-MasterKey")),
    ("X-Forwarded-User", f"Bearer {GATEWAY_KEY}"),
    ("X-Upstream", f"basic {BASIC.rstrip('=')}"),
    ("Authorization", f'Token token="{GATEWAY_KEY}"'),
    ("Authorization", f"ApiKey user:{GATEWAY_KEY}"),
    ("Authorization", f'Digest username="user", response="{GATEWAY_KEY}"'),
    ("Cookie", f"session={GATEWAY_KEY}"),
    ("Cookie", f'theme=dark; session="{GATEWAY_KEY}"'),
]


@pytest.mark.parametrize(("name", "value"), CREDENTIALS)
@pytest.mark.parametrize("make", [ChatScaleway, llama_index.Scaleway], ids=["langchain", "llama_index"])
def test_credentials_of_default_headers_are_secrets(make: type[Any], name: str, value: str) -> None:
    with LoopbackServer() as server:
        model = make(model="m", api_key=KEY, base_url=server.url, max_retries=0, default_headers={name: value})
        server.always(http(400, _error(message=f"bad {GATEWAY_KEY}", code=GATEWAY_KEY)))
        with pytest.raises(LinkspanError) as caught:
            calls(model)[0]()
        assert_clean(list(everything(caught.value)), "gw-5ecret")
        assert_clean([repr(model), str(model), repr(dict(model))], "gw-5ecret", BASIC.rstrip("="))


CLIENTS: dict[str, dict[str, Any]] = {
    "headers": {"headers": {"x-api-key": GATEWAY_KEY}},
    "basic authentication": {"auth": ("user", GATEWAY_KEY)},
    "cookies": {"cookies": {"sid": GATEWAY_KEY}},
    "parameters": {"params": {"key": GATEWAY_KEY}},
}


@pytest.mark.parametrize("given", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("make", [ChatScaleway, llama_index.Scaleway], ids=["langchain", "llama_index"])
async def test_credentials_of_a_passed_client_are_secrets(make: type[Any], given: dict[str, Any]) -> None:
    said = _error(message=f"bad {GATEWAY_KEY}, {BASIC}", code=GATEWAY_KEY)
    transport = httpx.MockTransport(lambda _: httpx.Response(401, content=said))
    fields = {"model": "m", "api_key": KEY, "base_url": "http://127.0.0.1:9", "max_retries": 0}
    model = make(**fields, http_client=httpx.Client(transport=transport, **given))
    for call in calls(model):
        with pytest.raises(LinkspanError, match="bad") as caught:
            call()
        assert_clean(list(everything(caught.value)), "gw-5ecret", BASIC.rstrip("="))
    model = make(**fields, http_async_client=httpx.AsyncClient(transport=transport, **given))
    with pytest.raises(LinkspanError, match="bad") as caught:
        await (model.ainvoke("x") if hasattr(model, "ainvoke") else model.acomplete("x"))
    assert_clean(list(everything(caught.value)), "gw-5ecret", BASIC.rstrip("="))


@pytest.mark.parametrize("make", [ChatScaleway, llama_index.Scaleway], ids=["langchain", "llama_index"])
def test_a_token_of_thousands_of_characters_is_a_secret(make: type[Any]) -> None:
    token = "".join(f"{number:x}/{number * 7919:X}." for number in range(1, 400))
    encoded = base64.b64encode(token.encode()).decode()
    writings = [token, quote(token, safe=""), encoded, quote(encoded, safe=""), f"{token[:900]}\n{token[900:]}"]
    with LoopbackServer() as server:
        model = make(model="m", api_key=token, base_url=server.url, max_retries=0)
        for writing in writings:
            server.always(http(400, _error(message=f"bad {writing}", code=writing)))
            with pytest.raises(LinkspanError, match=r"bad \*{10}") as caught:
                calls(model)[0]()
            ends = (writing[-12:], writing[:12], writing[len(writing) // 2 :][:24])
            assert_clean(list(everything(caught.value)), *ends)


@pytest.mark.parametrize(
    "url", ["https://user:a/{}@host/v1", "https://user:{}@host", "https://user:a\\{}@host", "https://u:p?{}@host"]
)
def test_a_password_in_base_url_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ChatScaleway(model="m", api_key="another-key-0123", base_url=url.format(KEY))
    assert_clean(list(everything(caught.value)))


@pytest.mark.parametrize(
    ("number", "command"),
    list(enumerate([["doctor", "scaleway"], ["models", "scaleway"], ["doctor", "llm-engine"]])),
    ids=["doctor scaleway", "models scaleway", "doctor llm-engine"],
)
def test_no_command_shows_the_key(number: int, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linkspan.transport.retries.sleep", lambda _: None)
    with LoopbackServer() as server:
        for name in ("SCW_SECRET_KEY", "SCALE_API_KEY"):
            monkeypatch.setenv(name, KEY)
        for name in ("SCALEWAY_BASE_URL", "LLM_ENGINE_BASE_PATH"):
            monkeypatch.setenv(name, server.url)
        for kind, script in failures_for(number).items():
            server.always(*script)
            result = CliRunner().invoke(app, command)
            shown = [result.output, str(result.exception)]
            if result.exception is not None:
                shown += everything(result.exception)
            assert_clean([f"{kind}: {text}".replace("\n", "") for text in shown])


WORDS: dict[str, Any] = {
    "token": KEY,
    "openai_api_key": KEY,
    "authorization": KEY,
    "Authorization": f"Bearer {KEY}",
    "headers": {"Authorization": KEY},
    "extra_headers": {"x": KEY},
    "password": KEY,
}


@pytest.mark.parametrize("api", [api for _, api in APIS], ids=[name for name, _ in APIS])
def test_words_of_a_call_that_hold_a_key_are_refused(api: Api) -> None:
    model = api.make()
    ask = model.invoke if hasattr(model, "invoke") else model.complete
    for word, value in WORDS.items():
        with pytest.raises(ConfigurationError, match=r"for one call|[Dd]id you mean") as caught:
            ask("x", **{word: value})
        assert_clean(list(everything(caught.value)))


def test_placeholders_are_no_secrets() -> None:
    assert Secrets(["EMPTY", "x"]).blank("EMPTY x") == "EMPTY x"
    assert Secrets(["secret-key"]).blank({"secret-key": [b"secret-key", ("secret-key", 5)]}) == {
        "**********": [b"**********", ("**********", 5)]
    }


def test_the_key_of_basic_authentication_is_found_in_base64() -> None:
    with LoopbackServer() as server:
        server.always(http(401, b'{"detail": "bad Basic %b"}' % WRITINGS["basic"].encode()))
        with pytest.raises(LinkspanError, match=r"bad Basic \*{10}") as caught:
            LLMEngine(model="m", api_key=KEY, base_url=server.url, max_retries=0).invoke("x")
    assert_clean(list(everything(caught.value)))
