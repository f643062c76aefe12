"""Proxies and certificates of the environment: used as they are meant, or refused by the variable's name."""

from __future__ import annotations

import os

import pytest

from linkspan.errors import ConfigurationError
from tests.support.loopback import http

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


NO_PROXIES = [
    "socks5://127.0.0.1:1080",
    "gopher://127.0.0.1:70",
    "http://127.0.0.1:70000",
    "http://127.0.0.1:0",
    "http://127.0.0.1:port",
    "http://[::1",
    "http://a..b:80",
    f"http://{'a' * 70}:80",
    "http://",
    "http://user:sk-password@127.0.0.1:99999",
    "http://user:sk-password\udc80@127.0.0.1:9",
    "http://xn--a:80",
]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_proxy_that_cannot_be_used(face, ask, environment, name):
    for value in NO_PROXIES:
        environment.setenv(name, value)
        with pytest.raises(ConfigurationError, match=f"^{name} names the proxy") as caught:
            await face.send(ask())
        assert "sk-password" not in str(caught.value)


async def test_blanks_around_a_proxy_do_not_count(server, face, ask, environment):
    server.always(http(200, b"fine"))
    environment.setenv("HTTP_PROXY", f" {server.url}\n")
    environment.setenv("NO_PROXY", "\n")
    environment.setenv("HTTPS_PROXY", "  ")
    assert (await face.send(ask(url="http://model.internal/v1"))).content == b"fine"


@pytest.mark.parametrize("value", ["[::1", "http://[::1", "host:port:9", "x\x01y", "\udc80"])
async def test_an_exception_from_proxies_that_cannot_be_read(face, ask, environment, value):
    environment.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    environment.setenv("NO_PROXY", value)
    with pytest.raises(ConfigurationError, match=r"^NO_PROXY holds"):
        await face.send(ask())


@pytest.mark.parametrize(
    "value",
    ["127.0.0.1", "::1,fe80::/10,127.0.0.1", "[::1],127.0.0.0/8", "10.0.0.0/8, 127.0.0.1/32", "localhost,*", ".0.0.1"],
)
async def test_exceptions_from_proxies(server, face, ask, environment, value):
    environment.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody there
    environment.setenv("NO_PROXY", value)
    server.answer(http(200, b"fine"))
    assert (await face.send(ask())).content == b"fine"


@pytest.mark.parametrize("value", ["10.0.0.0/8", "fe80::/10", "localhost", "[::1]"])
async def test_other_hosts_go_through_the_proxy(server, face, ask, environment, value):
    environment.setenv("HTTP_PROXY", server.url)
    environment.setenv("NO_PROXY", value)
    server.answer(http(200, b"fine"))
    assert (await face.send(ask(url="http://model.internal/v1"))).content == b"fine"
    assert server.requests[0].target == "http://model.internal/v1"


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"])
async def test_files_that_cannot_be_used(face, ask, environment, tmp_path, name):
    (tmp_path / "no.pem").write_text("no certificate")
    values = {
        "SSL_CERT_FILE": [tmp_path / "missing.pem", tmp_path, tmp_path / "no.pem"],
        "SSL_CERT_DIR": [tmp_path / "missing", f"{tmp_path}{os.pathsep}{tmp_path / 'missing'}", "x" * 5_000],
        "SSLKEYLOGFILE": [tmp_path / "missing" / "keys", tmp_path],
    }
    environment.delenv("SSL_CERT_FILE", raising=False)
    for value in values[name]:
        environment.setenv(name, str(value))
        with pytest.raises(ConfigurationError, match=f"^{name} names "):
            await face.send(ask())


async def test_several_directories_of_certificates(server, face, ask, environment, tmp_path):
    environment.delenv("SSL_CERT_FILE", raising=False)
    environment.setenv("SSL_CERT_DIR", f"{tmp_path}{os.pathsep * 2}{tmp_path.parent}")  # OpenSSL skips empty parts
    server.answer(http(200, b"fine"))
    assert (await face.send(ask())).content == b"fine"


@pytest.mark.parametrize(
    "host", ["xn--a.example", "a..b", f"{'a' * 64}.example", "\u00fc" * 60 + ".example", ".example"]
)
async def test_hosts_that_cannot_exist(face, ask, host):
    with pytest.raises(ConfigurationError):
        await face.send(ask(url=f"http://{host}/v1"))


@pytest.mark.parametrize("streamed", [False, True])
async def test_redirects_to_what_is_no_address(server, face, ask, streamed):
    for location in (
        "//[",
        "javascript:alert(1)",
        "mailto:a@b",
        "http://[::1",
        "http://a:port/",
        "x://",
        "http://xn--a/",
    ):
        server.requests.clear()
        server.answer(http(302, headers={"location": location}))
        with pytest.raises(ConfigurationError, match="redirects"):
            await (face.stream(ask()) if streamed else face.send(ask(max_retries=2)))
        assert len(server.requests) == 1, location
