"""Where cassettes are kept, what goes into them and how requests are matched to them.

A test's cassette is named after its module and itself: ``test_scaleway.py::test_langchain_invoke`` plays
``cassettes/scaleway/langchain_invoke.yaml``. Its first line says what it was recorded against.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import vcr
from vcr.persisters.filesystem import FilesystemPersister

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from vcr.request import Request

CASSETTES = Path(__file__).parents[2] / "cassettes"
#: The key of all calls here, when they are recorded and when they are replayed. It must not be in any cassette.
KEY = "5ca1e0a7-0000-4000-8000-c0ffee5ec4e7"
#: Stands for the server's address, which differs each time. RFC 2606 keeps the name from ever being somebody's.
HOST = "recorded.invalid"
PROVENANCE = "# Recorded against "

_REQUEST_HEADERS = frozenset({"accept", "content-type"})
_RESPONSE_HEADERS = frozenset({"content-type", "retry-after", "x-request-id"})


@dataclass(frozen=True, eq=False)
class Recording:
    """What tests are recorded against; the recording script hands it to pytest as a plugin.

    Args:
        base_urls: The server's base URL by provider.
        sources: What answers, by the name that a test marks itself with (``model`` unless it says otherwise).
        directory: Where to write.
    """

    base_urls: dict[str, str]
    sources: dict[str, str]
    directory: Path
    recorded: list[str] = field(default_factory=list)


class Tape:
    """The cassette of one test.

    Attributes:
        base_url: What to construct models with; ``None`` for the provider's own address, which replays answer for.
    """

    def __init__(self, cassette: Any, base_url: str | None) -> None:
        self._cassette = cassette
        self._recorded = base_url is not None
        self.base_url = base_url
        self.key = KEY

    @property
    def complete(self) -> bool:
        """Whether there is something on it, and all of it has just been played or recorded."""
        return len(self._cassette) > 0 and (self._recorded or self._cassette.all_played)

    @property
    def status(self) -> int:
        """Status of the only answer."""
        return int(self._only_response["status"]["code"])

    @property
    def request_id(self) -> str:
        """The only answer's ``x-request-id``."""
        (value,) = self._only_response["headers"]["x-request-id"]
        return str(value)

    @property
    def request(self) -> dict[str, Any]:
        """Body of the only request."""
        (request,) = self._cassette.requests
        return dict(json.loads(request.body))

    @property
    def body(self) -> dict[str, Any]:
        """Body of the only answer, which is JSON."""
        return dict(json.loads(self._text))

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the only answer, which is a stream."""
        data = [line.removeprefix("data: ") for line in self._text.split("\n") if line.startswith("data: ")]
        assert data[-1] == "[DONE]"
        return [json.loads(event) for event in data[:-1]]

    @property
    def streamed_text(self) -> str:
        """The text of the events, put together."""
        return "".join(delta.get("content") or "" for delta in self._choices("delta"))

    @property
    def streamed_usage(self) -> dict[str, int]:
        """The token counts among the events."""
        (usage,) = [event["usage"] for event in self.events if event.get("usage")]
        return dict(usage)

    @property
    def streamed_finish_reason(self) -> str:
        """The finish reason among the events."""
        (reason,) = [reason for reason in self._choices("finish_reason") if reason]
        return str(reason)

    def _choices(self, key: str) -> Iterator[Any]:
        return (choice[key] for event in self.events for choice in event["choices"])

    @property
    def _only_response(self) -> dict[str, Any]:
        (response,) = self._cassette.responses
        return dict(response)

    @property
    def _text(self) -> str:
        text = self._only_response["body"]["string"]
        return text.decode() if isinstance(text, bytes) else str(text)


def replaying(path: Path) -> AbstractContextManager[Any]:
    """Open a cassette from which alone requests are answered, each answer once."""
    return _vcr(_normaliser(None)).use_cassette(str(path), record_mode="none")


def recording(path: Path, base_url: str, source: str) -> AbstractContextManager[Any]:
    """Record what is sent to ``base_url`` into a new cassette."""
    machine = _vcr(_normaliser(base_url))
    machine.register_persister(_persister_with(f"{PROVENANCE}{source}\n"))
    return machine.use_cassette(str(path), record_mode="all")


def _vcr(normalise: Callable[[Request], Request | None]) -> vcr.VCR:
    machine = vcr.VCR(
        before_record_request=normalise,
        before_record_response=_without_odd_headers,
        decode_compressed_response=True,
        match_on=("method", "path", "json"),
    )
    machine.register_matcher("json", _same_json)
    return machine


def _normaliser(base_url: str | None) -> Callable[[Request], Request | None]:
    """Return what makes requests to any address alike, without a header that is not known to be harmless."""

    def normalise(request: Request) -> Request | None:
        path = urlsplit(request.uri).path
        if base_url is not None:
            if not request.uri.startswith(base_url):
                # The sandbox runs in this process: its own calls to the model's server are not to be recorded.
                return None
            path = "/v1" + request.uri.removeprefix(base_url)
        request.uri = f"https://{HOST}{path}"
        request.headers = {name: value for name, value in request.headers.items() if name.lower() in _REQUEST_HEADERS}
        return request

    return normalise


def _without_odd_headers(response: dict[str, Any]) -> dict[str, Any]:
    headers = {name: value for name, value in response["headers"].items() if name.lower() in _RESPONSE_HEADERS}
    return {**response, "headers": headers}


def _same_json(one: Request, other: Request) -> None:
    ours, theirs = json.loads(one.body), json.loads(other.body)
    assert ours == theirs, f"the request's body is not the recorded one: {ours} != {theirs}"


def _persister_with(first_line: str) -> type[FilesystemPersister]:
    class Persister(FilesystemPersister):
        """Writes the provenance above what vcrpy writes."""

        @staticmethod
        def save_cassette(cassette_path: Any, cassette_dict: Any, serializer: Any) -> None:
            FilesystemPersister.save_cassette(cassette_path, cassette_dict, serializer)
            path = Path(cassette_path)
            path.write_text(first_line + path.read_text(encoding="utf-8"), encoding="utf-8")

    return Persister
