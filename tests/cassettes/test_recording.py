"""Recording itself, against a server on a loopback socket: what is kept, what is refused, and what replays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from vcr.errors import CannotOverwriteExistingCassetteException

from linkspan.errors import ConfigurationError
from linkspan.langchain import ChatScaleway, ScalewayEmbeddings
from tests.cassettes.recording import refuse_secrets
from tests.cassettes.tape import CASSETTES, PROVENANCE, Source, Tape, recording, replaying
from tests.support.loopback import LoopbackServer, http

if TYPE_CHECKING:
    from pathlib import Path

REAL_KEY = "0f0f0f0f-1111-4222-8333-444444444444"
ANSWER = {"id": "1", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]}
WITH_CALLS = CASSETTES / "scaleway_tools" / "langchain_results_sent_back.yaml"


def recorded(path: Path, answer: dict[str, Any]) -> str:
    """Record two calls as a live recording would, and return the cassette's text."""
    with LoopbackServer() as server:
        server.always(http(body=json.dumps(answer).encode(), headers={"x-request-id": "r-1", "set-cookie": "crumb=1"}))
        source = Source(f"{server.url}/project-0815/v1", "a real service; 2026-11-21", "m", REAL_KEY)
        with recording(path, source) as cassette:
            model = ChatScaleway(model=source.model, api_key=source.key, base_url=source.base_url, max_retries=0)
            assert [model.invoke("One").text, model.invoke("Two").text] == ["Hi", "Hi"]
        assert len(cassette) == 2
        assert server.requests[0].headers["authorization"] == f"Bearer {REAL_KEY}"
    return path.read_text(encoding="utf-8")


def test_neither_key_nor_address_is_kept(tmp_path: Path) -> None:
    text = recorded(tmp_path / "new.yaml", ANSWER)
    assert text.splitlines()[0] == f"{PROVENANCE}a real service; 2026-11-21"
    for secret in (REAL_KEY, "127.0.0.1", "project-0815", "crumb", "Bearer"):
        assert secret not in text
    assert "r-1" in text


def test_what_was_recorded_replays_elsewhere(tmp_path: Path) -> None:
    """With another key, at the provider's own address, though the server that answered is gone."""
    path = tmp_path / "new.yaml"
    recorded(path, ANSWER)
    with replaying(path) as cassette:
        model = ChatScaleway(model="m", api_key="another", max_retries=0)
        assert [model.invoke("One").text, model.invoke("Two").text] == ["Hi", "Hi"]
        assert cassette.all_played


def test_two_servers_become_one_address(tmp_path: Path) -> None:
    """Chat from one server, vectors from another, as the service has both in one place."""
    path = tmp_path / "new.yaml"
    vector = {"object": "list", "model": "v", "data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1}}

    def ask(tape: Tape) -> tuple[list[float], str]:
        settings = {"api_key": tape.key, "max_retries": 0}
        vectors, chat = tape.of("embeddings"), tape.of("completions")
        embedded = ScalewayEmbeddings(model=vectors.model, base_url=vectors.base_url, **settings).embed_query("One")
        return embedded, ChatScaleway(model=chat.model, base_url=chat.base_url, **settings).invoke("Two").text

    with LoopbackServer() as one, LoopbackServer() as other:
        one.always(http(body=json.dumps(ANSWER).encode()))
        other.always(http(body=json.dumps(vector).encode()))
        said = "two services; 2026-11-21"
        source = Source(f"{one.url}/v1", said, "m", vectors=Source(f"{other.url}/v1", said, "v"))
        with recording(path, source) as cassette:
            assert ask(Tape(cassette, source)) == ([0.5], "Hi")
    assert "127.0.0.1" not in path.read_text(encoding="utf-8")
    with replaying(path) as cassette:
        tape = Tape(cassette)
        assert ask(tape) == ([0.5], "Hi")
        assert tape.complete
        assert (tape.routes, tape.model) == (["embeddings", "completions"], "m")


def test_a_secret_in_a_body_is_refused(tmp_path: Path) -> None:
    answer = {**ANSWER, "account": REAL_KEY}
    path = tmp_path / "new.yaml"
    recorded(path, answer)
    refuse_secrets(path, {"SCW_ACCESS_KEY": "", "SCW_DEFAULT_PROJECT_ID": "elsewhere"})
    with pytest.raises(ConfigurationError, match="SCW_SECRET_KEY") as caught:
        refuse_secrets(path, {"SCW_SECRET_KEY": REAL_KEY})
    assert REAL_KEY not in str(caught.value)


def ids_replaced(path: Path, names: dict[str, str]) -> Path:
    """Copy the cassette with tool calls, with other ids in its second request."""
    cassette = yaml.safe_load(WITH_CALLS.read_text(encoding="utf-8"))
    request = cassette["interactions"][1]["request"]
    for old, new in names.items():
        assert old in request["body"]
        request["body"] = request["body"].replace(old, new)
    path.write_text(yaml.safe_dump(cassette), encoding="utf-8")
    return path


def made_ids() -> list[str]:
    cassette = yaml.safe_load(WITH_CALLS.read_text(encoding="utf-8"))
    first = json.loads(cassette["interactions"][0]["response"]["body"]["string"])
    return [call["id"] for call in first["choices"][0]["message"]["tool_calls"]]


def replay_second_request(path: Path) -> None:
    """Send the request that the real cassette holds."""
    cassette = yaml.safe_load(WITH_CALLS.read_text(encoding="utf-8"))
    body = json.loads(cassette["interactions"][1]["request"]["body"])
    model = ChatScaleway(model=body["model"], api_key="another", max_retries=0)
    with replaying(path):
        model.invoke("ignored", extra_body=body)


@pytest.mark.usefixtures("network_blocked")
def test_other_ids_of_the_same_calls_match(tmp_path: Path) -> None:
    first, second = made_ids()
    replay_second_request(ids_replaced(tmp_path / "other.yaml", {first: "call_a", second: "call_b"}))


@pytest.mark.usefixtures("network_blocked")
def test_results_of_other_calls_do_not_match(tmp_path: Path) -> None:
    """Both results for one call: not the conversation that was recorded."""
    first, second = made_ids()
    path = ids_replaced(tmp_path / "other.yaml", {f'"tool_call_id":"{second}"': f'"tool_call_id":"{first}"'})
    with pytest.raises(CannotOverwriteExistingCassetteException):
        replay_second_request(path)
