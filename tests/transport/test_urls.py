"""What a base URL may be, and how it is shown."""

from __future__ import annotations

import pytest

from linkspan.errors import ConfigurationError
from linkspan.transport import check_base_url, join_url, public_url


def check(url, **options):
    return check_base_url(url, provider="test", **({"has_credentials": True} | options))


@pytest.mark.parametrize(
    ("url", "normalised"),
    [
        ("https://api.scaleway.ai/v1", "https://api.scaleway.ai/v1"),
        ("https://api.scaleway.ai/v1/", "https://api.scaleway.ai/v1"),
        ("  https://API.Scaleway.ai/V1//\n", "https://api.scaleway.ai/V1"),
        ("HTTPS://host", "https://host"),
        ("https://host:8443/a/b", "https://host:8443/a/b"),
        ("http://[::1]:8080/v1/", "http://[::1]:8080/v1"),
        ("https://bücher.example/v1", "https://bücher.example/v1"),
    ],
)
def test_normalised(url, normalised):
    assert check(url) == normalised


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("api.scaleway.ai/v1", "no scheme"),
        ("localhost:8000", "no scheme"),
        ("ftp://host", "use https or http"),
        ("file:///etc/passwd", "use https or http"),
        ("https://", "no host"),
        ("https:///v1", "no host"),
        ("https://host:port/v1", "port"),
        ("https://host:99999", "port"),
        ("https://[::1/v1", "not a valid URL"),
        ("https://host/a b", "blank"),
        ("https://host/\x00", "control"),
        ("https://host\\evil", "backslash"),
        ("https://host/v1?api-version=1", "query"),
        ("https://host/v1#part", "fragment"),
        ("https://host/\udc80", "not UTF-8"),
        ("https://xn--a/v1", "international"),
        ("http://evil%2ecom/v1", "percent sign"),
        ("http://evil.com%23.local/v1", "percent sign"),
        ("https://sk-secret@host/v1", "user name or password"),
        ("https://user:sk-secret@host/v1", "user name or password"),
        ("https://host/v1?key=sk-secret", "query"),
        ("user:sk-secret@host", "no scheme"),
    ],
)
def test_refused_with_the_reason_and_without_secrets(url, reason):
    with pytest.raises(ConfigurationError, match=reason) as caught:
        check(url)
    assert "base_url" in str(caught.value)
    assert "sk-secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.provider == "test"


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000",
        "api.localhost",
        "127.0.0.1",
        "127.1.2.3:80",
        "[::1]",
        "10.0.0.7",
        "172.16.3.4",
        "192.168.1.5:8080",
        "100.64.0.1",
        "169.254.1.1",
        "[fd00::1]",
        "[fe80::1%25eth0]",
        "llm-gateway",
        "gateway.default.svc",
        "gateway.default.svc.cluster.local",
        "host.docker.internal",
        "printer.lan",
    ],
)
def test_key_over_plain_http_within_the_network(host):
    assert check(f"http://{host}/v1").startswith("http://")


@pytest.mark.parametrize(
    "host", ["api.scaleway.ai", "8.8.8.8", "[2606:4700::1111]", "localhost.example.com", "10.example.com"]
)
def test_key_over_plain_http_to_a_public_host(host):
    url = f"http://{host}/v1"
    with pytest.raises(ConfigurationError, match="allow_insecure_http=True"):
        check(url)
    assert check(url, allow_insecure_http=True) == url
    assert check(url, has_credentials=False) == url
    assert check(f"https://{host}/v1") == f"https://{host}/v1"


@pytest.mark.parametrize(
    ("base", "path", "joined"),
    [
        ("https://host/v1", "chat/completions", "https://host/v1/chat/completions"),
        ("https://host/v1/", "/chat/completions", "https://host/v1/chat/completions"),
        ("https://host", "generate", "https://host/generate"),
        ("https://host/project/v1", "", "https://host/project/v1"),
    ],
)
def test_join_loses_no_segment(base, path, joined):
    assert join_url(base, path) == joined


def test_public_url_shows_neither_user_info_nor_query():
    assert public_url("https://user:pass@host:1/a/b?key=1#x") == "https://host:1/a/b"
    # A password may hold a slash: what is before the last @ might be one.
    assert public_url("https://user:1/pass@host/a") == "https://host/a"


@pytest.mark.parametrize(
    "host",
    [
        "134744072",
        "0x08080808",
        "0x8.8.8.8",
        "8.8.2056",
        "010.8.8.8",
        "134744072.",
        "\uff18.8.8.8",
        "ex\uff41mple\u3002com",
    ],
)
def test_a_public_host_by_another_writing_gets_no_key_over_http(host):
    with pytest.raises(ConfigurationError, match="unencrypted"):
        check_base_url(f"http://{host}/v1", provider="test", has_credentials=True)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "10.1", "192.168.257", "tgi", "model.svc"])
def test_a_private_host_by_another_writing_may_have_it(host):
    assert check_base_url(f"http://{host}/v1", provider="test", has_credentials=True) == f"http://{host}/v1"


@pytest.mark.parametrize("host", ["a..b", ".example.com", f"{'a' * 64}.example"])
def test_a_host_that_cannot_exist(host):
    with pytest.raises(ConfigurationError, match="has a host"):
        check_base_url(f"https://{host}/v1", provider="test", has_credentials=True)
