"""``linkspan doctor``: check the setup and whether each API is reachable; keys are never shown."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

from rich.markup import escape

from linkspan.commands import console
from linkspan.commands.apis import PROVIDERS, Address, ProviderName, chat_endpoint
from linkspan.errors import (
    APITimeoutError,
    AuthenticationError,
    LinkspanError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from linkspan.providers.datacrunch import DATACRUNCH
from linkspan.providers.datacrunch.provider import is_gateway, is_legacy
from linkspan.providers.error_bodies import refuse_page
from linkspan.routes.models import list_models
from linkspan.transport.urls import public_url

if TYPE_CHECKING:
    from linkspan.providers.provider import Provider

__all__ = ["examine"]

_PACKAGES = ("linkspan", "httpx", "pydantic", "langchain-core", "llama-index-core")

#: Free routes of APIs that may have no list of models. Gray Swan has none: the 405 of its chat route to GET suffices.
_PROBES = {ProviderName.GRAY_SWAN: "chat/completion", ProviderName.DATACRUNCH: "health"}

_EXPLAINED: tuple[tuple[type[LinkspanError], str], ...] = (
    (AuthenticationError, "The service rejects the key. Check that the key belongs to this service and is complete."),
    (PermissionDeniedError, "The key lacks permission: check its permissions, and the project (Scaleway)."),
    (APITimeoutError, "No answer in time: check for a firewall, a proxy, or a server that is still starting."),
    (NotFoundError, "The server answers, but it is not this API: check the path of the base URL."),
    (RateLimitError, "The service answers, but the account's rate limit is exhausted."),
)


@dataclass(frozen=True)
class Finding:
    """The result for one API.

    Attributes:
        api: Its name.
        key: The environment variable with the key; ``None`` if none is set.
        base_url: The base URL; ``None`` if there is none.
        base_url_from: Its environment variable, ``"default"``, or ``None``.
        state: ``"ok"``, ``"not set up"``, ``"not asked"`` or ``"failed"``.
        explanation: What failed, and what to do.
    """

    api: str
    key: str | None
    base_url: str | None
    base_url_from: str | None
    state: str
    explanation: str = ""


def examine(*, offline: bool, as_json: bool) -> int:
    """Print the results and return the exit code: 1 if an API that is set up cannot be used."""
    findings = [_examine(name, offline=offline) for name in ProviderName]
    versions = {package: _version(package) for package in _PACKAGES}
    if as_json:
        report = {
            "python": platform.python_version(),
            "packages": versions,
            "apis": [asdict(finding) for finding in findings],
        }
        sys.stdout.write(f"{json.dumps(report)}\n")
    else:
        _print(findings, versions)
    return 1 if any(finding.state == "failed" for finding in findings) else 0


def _examine(name: ProviderName, *, offline: bool) -> Finding:
    provider = PROVIDERS[name]
    key = _first_set(provider.api_key_env)
    url_from = _first_set(provider.base_url_env)
    base_url = os.environ[url_from].strip() if url_from else provider.default_base_url
    # URLs can contain pasted keys.
    shown = public_url(base_url) if base_url else None
    finding = partial(Finding, name.value, key, shown, url_from or ("default" if base_url else None))
    if key is None and url_from is None:
        return finding("not set up", f"Set {' and '.join(_needed(provider))}.")
    if offline:
        return finding("not asked")
    try:
        note = _probe(name)
    except LinkspanError as error:
        return finding("failed", _explain(error, url_from or "the base URL"))
    return finding("ok", note)


def _needed(provider: Provider) -> list[str]:
    return [provider.api_key_env[0], *([] if provider.default_base_url else provider.base_url_env[:1])]


def _probe(name: ProviderName) -> str:
    """Call a free route; return what the call cannot prove.

    Raises:
        LinkspanError: The API cannot be used.
    """
    if name is ProviderName.DATACRUNCH and is_legacy(base_url := DATACRUNCH.resolve_base_url(None)):
        DATACRUNCH.require_api_key(DATACRUNCH.resolve_api_key(None), base_url)
        return "Not called: the legacy address has no free route."
    endpoint = chat_endpoint(name, "any", Address(timeout=10, max_retries=0))
    try:
        if name not in _PROBES or is_gateway(endpoint.base_url):
            list_models(endpoint)
        else:
            endpoint.read(_PROBES[name], partial(refuse_page, PROVIDERS[name].name))
    except LinkspanError as error:
        if name is ProviderName.GRAY_SWAN and error.status_code == 405:
            return "The route exists; only a paid call could check the key."
        raise
    finally:
        endpoint.close()
    return ""


def _explain(error: LinkspanError, address: str) -> str:
    """Return the error's text, with ``address`` in place of ``base_url``, and what to do."""
    text = re.sub(r"\bbase_url\b", address, str(error)).rstrip(".")
    advice = next((words for kind, words in _EXPLAINED if isinstance(error, kind)), "")
    return f"{text}. {advice}".strip()


def _first_set(names: tuple[str, ...]) -> str | None:
    return next((name for name in names if os.environ.get(name, "").strip()), None)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _print(findings: list[Finding], versions: dict[str, str | None]) -> None:
    installed = ", ".join(f"{package} {version or 'not installed'}" for package, version in versions.items())
    console.out.print(f"Python {platform.python_version()}; {installed}", soft_wrap=True)
    colours = {"ok": "green", "failed": "red"}
    for finding in findings:
        console.out.print(f"\n[bold]{finding.api}[/]: [{colours.get(finding.state, 'default')}]{finding.state}[/]")
        console.out.print(f"  key       {f'{finding.key} is set' if finding.key else 'none'}")
        address = f"{finding.base_url}  ({finding.base_url_from})" if finding.base_url else "none"
        console.out.print(f"  base URL  {escape(address)}", soft_wrap=True)
        if finding.explanation:
            console.out.print(f"  {escape(finding.explanation)}", soft_wrap=True)
