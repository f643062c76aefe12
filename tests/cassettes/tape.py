"""Where cassettes are kept, what goes into them and how requests are matched to them.

A test's cassette is named after its module and itself: ``test_scaleway.py::test_langchain_invoke`` plays
``cassettes/scaleway/langchain_invoke.yaml``. Its first line says what it was recorded against. How they are recorded is
in :mod:`tests.cassettes.recording`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
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
_RESPONSE_HEADERS = frozenset({"content-type", "retry-after", "x-prompt-tokens", "x-request-id"})


@dataclass(frozen=True)
class Source:
    """What a cassette is recorded against.

    Attributes:
        base_url: Its address, up to ``/v1``.
        provenance: What it is, with versions and date: the cassette's first line.
        model: Name of the model to ask.
        key: The key that it wants.
        vectors: What answers for embeddings and rerank, if that is another server or model.
    """

    base_url: str
    provenance: str
    model: str
    key: str = KEY
    vectors: Source | None = None


class Tape:
    """The cassette of one test.

    Attributes:
        base_url: What to construct models with; ``None`` for the provider's own address, which replays answer for.
        key: The key to construct models with.
    """

    def __init__(self, cassette: Any, source: Source | None = None) -> None:
        self._cassette = cassette
        self._recorded = source is not None
        self.base_url = None if source is None else source.base_url
        self.key = KEY if source is None else source.key
        self._model = None if source is None else source.model
        self._source = source

    @property
    def model(self) -> str:
        """Name of the model that is asked, or was when the cassette was recorded; of a chat, if there is one."""
        chat = [body for route, body in zip(self.routes, self.requests, strict=True) if route == "completions"]
        return self._model or str((chat or self.requests)[0]["model"])

    def of(self, route: str) -> Tape:
        """Return the tape as those see it who ask one route, such as ``embeddings``: with its address and model."""
        source = self._source
        if source is not None and source.vectors is not None and route in {"embeddings", "rerank"}:
            source = source.vectors
        seen = Tape(self._cassette, source)
        seen._model = seen._model or str(self.requests[self.routes.index(route)]["model"])
        return seen

    @property
    def routes(self) -> list[str]:
        """The last parts of the paths of all requests, such as ``embeddings``."""
        return [urlsplit(request.uri).path.rpartition("/")[2] for request in self._cassette.requests]

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
        (request,) = self.requests
        return request

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Bodies of all requests that have one: those for a list have none."""
        return [json.loads(request.body) for request in self._cassette.requests if request.body]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Bodies of all answers, which are JSON."""
        return [json.loads(response["body"]["string"]) for response in self._cassette.responses]

    @property
    def body(self) -> dict[str, Any]:
        """Body of the only answer, which is JSON."""
        return dict(json.loads(self._text))

    def text_of(self, place: int) -> str:
        """Body of the answer at this place, as it came."""
        text = self._cassette.responses[place]["body"]["string"]
        return text.decode() if isinstance(text, bytes) else str(text)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the only answer, which is a stream that ends with ``[DONE]``."""
        data = self._event_data
        assert data[-1] == "[DONE]"
        return [json.loads(event) for event in data[:-1]]

    @property
    def events_without_mark(self) -> list[dict[str, Any]]:
        """The events of the only answer, which is a stream without an end mark."""
        return [json.loads(event) for event in self._event_data]

    @property
    def _event_data(self) -> list[str]:
        lines = self._text.replace("\r\n", "\n").split("\n")
        return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]

    @property
    def streamed_text(self) -> str:
        """The text of the events, put together."""
        return "".join(delta.get("content") or "" for delta in self._choices("delta"))

    @property
    def streamed_reasoning(self) -> str:
        """The reasoning of the events, put together."""
        return "".join(delta.get("reasoning") or "" for delta in self._choices("delta"))

    @property
    def streamed_calls(self) -> list[tuple[str, str, dict[str, Any]]]:
        """The tool calls of the events, put together: id, name and arguments of each."""
        calls: dict[int, list[str]] = {}
        for delta in self._choices("delta"):
            for fragment in delta.get("tool_calls") or ():
                call = calls.setdefault(fragment["index"], ["", "", ""])
                function = fragment["function"]
                for place, piece in enumerate((fragment.get("id"), function.get("name"), function.get("arguments"))):
                    call[place] += piece or ""
        return [(identity, name, json.loads(arguments)) for identity, name, arguments in calls.values()]

    @property
    def streamed_usage(self) -> dict[str, Any]:
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
        (_,) = self._cassette.responses
        return self.text_of(0)


def replaying(path: Path) -> AbstractContextManager[Any]:
    """Open a cassette from which alone requests are answered, each answer once."""
    return _vcr(_normaliser()).use_cassette(str(path), record_mode="none")


def recording(path: Path, source: Source) -> AbstractContextManager[Any]:
    """Record what is sent to a source into a new cassette."""
    addresses = [one.base_url for one in (source, source.vectors) if one is not None]
    machine = _vcr(_normaliser(*addresses))
    machine.register_persister(_persister_with(f"{PROVENANCE}{source.provenance}\n"))
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


def _normaliser(*base_urls: str) -> Callable[[Request], Request | None]:
    """Return what makes requests to any address alike, without a header that is not known to be harmless."""

    def normalise(request: Request) -> Request | None:
        path = urlsplit(request.uri).path
        # vcrpy also asks about requests that it has been through here with before.
        if base_urls and not request.uri.startswith(f"https://{HOST}/"):
            base_url = next((one for one in base_urls if request.uri.startswith(one)), None)
            if base_url is None:
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
    if not one.body and not other.body:
        return
    assert one.body, "the recorded request has a body"
    assert other.body, "the recorded request has no body"
    ours, theirs = (_with_plain_descriptions(_without_call_ids(json.loads(body))) for body in (one.body, other.body))
    assert ours == theirs, f"the request's body is not the recorded one: {ours} != {theirs}"


def _without_call_ids(body: Any) -> Any:
    """Put numbers for the ids of tool calls, which are new each time: what belongs together stays so."""
    turns = "messages" if isinstance(body, dict) and "messages" in body else "input"
    if not isinstance(body, dict) or not isinstance(body.get(turns), list):
        return body
    numbers: dict[Any, str] = {}

    def numbered(message: Any) -> Any:
        if not isinstance(message, dict):
            return message  # a text to embed
        message = dict(message)
        if message.get("tool_calls"):
            message["tool_calls"] = [
                {**call, "id": numbers.setdefault(call.get("id"), f"call {len(numbers)}")}
                for call in message["tool_calls"]
            ]
        for name in ("tool_call_id", "call_id"):
            if name in message:
                message[name] = numbers.setdefault(message[name], f"call {len(numbers)}")
        return message

    return {**body, turns: [numbered(message) for message in body[turns]]}


def _with_plain_descriptions(body: Any) -> Any:
    """Leave the white space of functions' descriptions out: Python 3.13 takes docstrings' indentation away."""
    if not isinstance(body, dict) or not isinstance(body.get("tools"), list):
        return body

    def plain(tool: Any) -> Any:
        # In the Responses API the tool itself is the function.
        function = dict(tool.get("function", tool))
        if isinstance(function.get("description"), str):
            function["description"] = " ".join(function["description"].split())
        return {**tool, "function": function} if "function" in tool else function

    return {**body, "tools": [plain(tool) for tool in body["tools"]]}


def _persister_with(first_line: str) -> type[FilesystemPersister]:
    class Persister(FilesystemPersister):
        """Writes the provenance above what vcrpy writes."""

        @staticmethod
        def save_cassette(cassette_path: Any, cassette_dict: Any, serializer: Any) -> None:
            FilesystemPersister.save_cassette(cassette_path, cassette_dict, serializer)
            path = Path(cassette_path)
            path.write_text(first_line + path.read_text(encoding="utf-8"), encoding="utf-8")

    return Persister
