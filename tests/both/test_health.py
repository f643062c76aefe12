"""Whether a server is well, in both frameworks' classes: its own answer decides, not that of something before it."""

from __future__ import annotations

import inspect
from typing import Any

import httpx
import pytest

from linkspan.errors import AuthenticationError, InvalidResponseError, LinkspanError
from tests.both.subjects import SUBJECTS, Subject

CHECKS = [
    pytest.param(subject, name, id=f"{subject.id}-{name}")
    for subject in SUBJECTS
    for name in ("health", "ahealth", "check_health", "acheck_health")
    if hasattr(subject.cls, name)
]


async def checked(subject: Subject, name: str, answer: httpx.Response) -> Any:
    """Let the server answer this."""

    def server(request: httpx.Request) -> httpx.Response:
        assert request.url.path.endswith("/healthz" if "check" in name else "/health")
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)

    result = getattr(subject.make(server), name)()  # type: ignore[arg-type]  # what a transport calls
    return await result if inspect.isawaitable(result) else result


@pytest.mark.parametrize(("subject", "name"), CHECKS)
async def test_a_page_is_not_health(subject: Subject, name: str) -> None:
    page = httpx.Response(200, html="<html><title>Sign in</title></html>")
    with pytest.raises(InvalidResponseError, match="an HTML page: Sign in; check base_url"):
        await checked(subject, name, page)
    for answer in (
        httpx.Response(200),
        httpx.Response(200, content=b"OK"),
        httpx.Response(200, html="OK"),  # Flask's type of any text
        httpx.Response(200, json={"status": "ok"}),
    ):
        found = await checked(subject, name, answer)
        assert found or "check" in name


@pytest.mark.parametrize(("subject", "name"), CHECKS)
async def test_who_is_refused_is_told(subject: Subject, name: str) -> None:
    with pytest.raises(AuthenticationError):
        await checked(subject, name, httpx.Response(401))


@pytest.mark.parametrize(("subject", "name"), CHECKS)
async def test_a_sick_server(subject: Subject, name: str) -> None:
    sick = httpx.Response(503, json={"error": "unhealthy", "error_type": "healthcheck"})
    if "check" in name:
        with pytest.raises(LinkspanError, match="unhealthy"):
            await checked(subject, name, sick)
    else:
        found = await checked(subject, name, sick)
        assert (bool(found), found.message) == (False, "datacrunch: unhealthy")
