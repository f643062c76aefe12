"""Sound as text, through both frameworks, sync and async."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.document_loaders import Blob
from llama_index.core import SimpleDirectoryReader
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import MetadataMode

from linkspan.errors import (
    ConfigurationError,
    InvalidRequestError,
    InvalidResponseError,
    PermissionDeniedError,
    RateLimitError,
    UnsupportedContentError,
)
from linkspan.files import LARGEST_FILE
from linkspan.langchain import ScalewayTranscriptionParser
from linkspan.llama_index import ScalewayOCRReader, ScalewayTranscriptionReader
from linkspan_sandbox import Cut, HTTPError, Reply, Sandbox
from linkspan_sandbox.scaleway_documents import read_transcription
from llama_index.readers import scaleway as Leaf  # noqa: N812  # as the other leaves' tests call it
from tests.documents.conftest import sound

if TYPE_CHECKING:
    from pathlib import Path

    from tests.documents.conftest import Read, Refuses

SAID = "The ferry is late. It leaves at ten."


@pytest.fixture
def meeting(sandbox: Sandbox, tmp_path: Path) -> Path:
    sandbox.add_rule(SAID, when="meeting", route="transcriptions")
    path = tmp_path / "meeting.wav"
    path.write_bytes(sound())
    return path


def sent(sandbox: Sandbox) -> Any:
    request = sandbox.last_request
    return read_transcription(request.content, request.headers["content-type"])


def test_a_file_is_a_document(sandbox: Sandbox, read: Read, meeting: Path) -> None:
    ((text, metadata),) = read("transcription", meeting)
    assert text == SAID
    assert metadata.pop("source", None) or metadata.pop("file_name") == "meeting.wav"
    assert metadata == {"model": "whisper-large-v3"}
    asked = sent(sandbox)
    assert (asked.name, asked.size, asked.fields) == ("meeting.wav", len(sound()), {})
    assert sandbox.last_request.path == "/scaleway/v1/audio/transcriptions"


def test_what_is_set_is_sent_and_segments_are_documents(sandbox: Sandbox, read: Read, meeting: Path) -> None:
    documents = read(
        "transcription",
        meeting,
        language="fr",
        prompt="Fähre, Ostra",
        temperature=0.5,
        timestamp_granularities=["segment", "word"],
        split_segments=True,
        extra_body={"vad": True},
    )
    assert [text for text, _ in documents] == ["The ferry is late.", "It leaves at ten."]
    assert [(one["start"], one["end"], one["language"], one["duration"]) for _, one in documents] == [
        (0.0, 2.0, "fr", 4.0),
        (2.0, 4.0, "fr", 4.0),
    ]
    assert sent(sandbox).fields == {
        "language": "fr",
        "prompt": "Fähre, Ostra",
        "temperature": "0.5",
        "response_format": "verbose_json",
        "timestamp_granularities": ["segment", "word"],
        "vad": "true",
    }


def test_times_are_in_the_metadata_of_the_whole(read: Read, meeting: Path) -> None:
    ((text, metadata),) = read("transcription", meeting, timestamp_granularities=["word"])
    assert text == SAID
    assert metadata["words"][1] == {"text": "ferry", "start": 0.5, "end": 1.0}
    assert "segments" not in metadata


@pytest.mark.parametrize(
    ("response_format", "begin"), [("text", "The ferry"), ("srt", "1\n00:00:00,000 --> "), ("vtt", "WEBVTT\n")]
)
def test_text_formats_are_the_document(read: Read, meeting: Path, response_format: str, begin: str) -> None:
    ((text, _),) = read("transcription", meeting, response_format=response_format)
    assert text.startswith(begin)


def test_bytes_need_no_name(sandbox: Sandbox, read: Read) -> None:
    ((text, _),) = read("transcription", sound())
    assert text == f"The sandbox heard sound.wav, {len(sound())} bytes."
    read("transcription", b"ID3\x04rest of it")
    assert sent(sandbox).name == "sound.mp3"


@pytest.mark.parametrize(
    "case",
    [
        ("a.mp3", b"\0unknown beginning", "a.mp3"),
        ("a.MP4", b"\0\0\0\x20ftypisom", "a.mp4"),
        ("a.wav", b"fLaC....", "a.flac"),
        ("a", b"OggS....", "a.ogg"),
        ("a.mkv", b"\x1aE\xdf\xa3....", "a.webm"),
        ('naïve "name".oga', b"OggS....", 'naïve "name".oga'),
    ],
)
def test_a_name_ends_as_its_content_is(
    sandbox: Sandbox, read: Read, tmp_path: Path, case: tuple[str, bytes, str]
) -> None:
    name, content, sent_as = case
    (tmp_path / name).write_bytes(content)
    read("transcription", tmp_path / name)
    assert sent(sandbox).name.replace("%22", '"') == sent_as


NOT_TAKEN: list[tuple[str, bytes, type[Exception], str]] = [
    ("a.mp3", b"", InvalidRequestError, r"'a\.mp3' is empty"),
    ("a.mp3", b"x" * (LARGEST_FILE + 1), InvalidRequestError, "more than 25 MB"),
    ("a.aac", b"\xff\xf1....", UnsupportedContentError, "it is aac.*flac, m4a, mp3, ogg, wav, webm.*ffmpeg"),
    ("a.mp3", b"\xff\xf1....", UnsupportedContentError, "it is aac"),
    ("a.opus", b"OggS....", UnsupportedContentError, "it is opus"),
    ("a.amr", b"#!AMR....", UnsupportedContentError, "it is amr"),
    ("a.wav", b"%PDF-1.7", UnsupportedContentError, "it is application/pdf"),
    ("a.wav", b"\x89PNG\r\n\x1a\n", UnsupportedContentError, "it is image/png"),
    ("notes.txt", b"words", UnsupportedContentError, "it is text/plain"),
    ("a.mp3", b"<html>not found</html>", UnsupportedContentError, "it is text/plain"),
    ("a.wav", b"PK\x03\x04", UnsupportedContentError, "it is application/zip"),
    ("notes", b"\xff\xfew\0", UnsupportedContentError, "of an unknown format"),
]


def test_what_is_not_taken_is_refused_before_the_network(refuses: Refuses) -> None:
    for case in NOT_TAKEN:
        refuses("transcription", *case)


def test_an_address_is_no_file(read: Read) -> None:
    with pytest.raises(UnsupportedContentError, match=r"fetch 'a\.mp3' first") as caught:
        read("transcription", "https://bucket.example/a.mp3?X-Amz-Signature=secret")
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_pythons_own_error(read: Read, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read("transcription", tmp_path / "nowhere.mp3")


def test_a_failed_attempt_is_repeated_with_the_whole_file(
    sandbox: Sandbox, read: Read, meeting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(_: float) -> None:
        return None

    monkeypatch.setattr("linkspan.transport.retries.sleep", lambda _: None)
    monkeypatch.setattr("linkspan.transport.retries.async_sleep", at_once)
    sandbox.reset()
    sandbox.add_rule(Reply(fault=HTTPError(503)), route="transcriptions", times=1)
    sandbox.add_rule(Reply(fault=Cut(after=None)), route="transcriptions", times=1)
    sandbox.add_rule(SAID, route="transcriptions")
    assert read("transcription", meeting, max_retries=2)[0][0] == SAID
    assert len({request.content for request in sandbox.requests}) == 1
    assert len(sandbox.requests) == 3


def test_errors_are_typed_and_hold_no_key(sandbox: Sandbox, read: Read, meeting: Path) -> None:
    with pytest.raises(InvalidRequestError, match="model 'no-such' not found"):
        read("transcription", meeting, model="no-such")
    sandbox.reset()
    sandbox.add_rule(Reply(fault=HTTPError(429, message=f"slow down, {sandbox.api_key}")), route="transcriptions")
    with pytest.raises(RateLimitError, match="slow down") as caught:
        read("transcription", meeting)
    assert sandbox.api_key not in str(caught.value)
    assert (caught.value.rate_limit or {})["limit_requests"] == 100_000


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "no transcript"),
        ({"text": None}, "no transcript"),
        ([], "not an object"),
        ("<html>", "not JSON"),
        ({"text": "a", "segments": [{"text": "a"}]}, "no start or no end"),
        ({"text": "a", "segments": "all"}, "segments must be a list"),
        ({"text": "a"}, "the answer has no segments"),
    ],
)
def test_wrong_answers_are_errors(sandbox: Sandbox, read: Read, meeting: Path, body: Any, said: str) -> None:
    sandbox.reset()
    sandbox.add_rule(Reply(body=body), route="transcriptions")
    with pytest.raises(InvalidResponseError, match=said):
        read("transcription", meeting, split_segments=True)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [({"text": "Hello.", "usage": {"seconds": 1}}, "Hello."), ("{laughs} Hello.", "{laughs} Hello.")],
    ids=["a server that answers in JSON", "text that looks like JSON"],
)
def test_text_is_the_transcript_only(sandbox: Sandbox, read: Read, meeting: Path, body: Any, wanted: str) -> None:
    sandbox.reset()
    sandbox.add_rule(Reply(body=body), route="transcriptions")
    assert [text for text, _ in read("transcription", meeting, response_format="text")] == [wanted]


def test_a_page_is_no_transcript(sandbox: Sandbox, read: Read, meeting: Path) -> None:
    sandbox.reset()
    # Flask calls any text HTML, so that the type alone does not tell.
    for body in ("Hello.", "<title>Sign in</title>"):
        answer = Reply(body=body, headers={"content-type": "text/html; charset=utf-8"})
        sandbox.add_rule(answer, route="transcriptions", times=1)
    assert [text for text, _ in read("transcription", meeting, response_format="text")] == ["Hello."]
    with pytest.raises(InvalidResponseError, match="an HTML page: Sign in; check base_url"):
        read("transcription", meeting, response_format="text")


def test_json_is_no_subtitle(sandbox: Sandbox, read: Read, meeting: Path) -> None:
    sandbox.reset()
    sandbox.add_rule(Reply(body={"text": "Hello."}), route="transcriptions")
    with pytest.raises(InvalidResponseError, match="JSON instead of srt"):
        read("transcription", meeting, response_format="srt")


@pytest.mark.parametrize("response_format", ["json", "text"])
def test_an_error_under_status_200_is_one(sandbox: Sandbox, read: Read, meeting: Path, response_format: str) -> None:
    sandbox.reset()
    sandbox.add_rule(Reply(body=json.dumps({"error": {"message": "no", "code": 403}})), route="transcriptions")
    with pytest.raises(PermissionDeniedError, match="project_id"):
        read("transcription", meeting, response_format=response_format)


def test_silence_is_a_document_without_words(sandbox: Sandbox, read: Read, meeting: Path) -> None:
    sandbox.reset()
    sandbox.add_rule(Reply(body={"text": "", "duration": "1.5"}), route="transcriptions")
    assert [text for text, _ in read("transcription", meeting)] == [""]
    assert read("transcription", meeting, split_segments=True) == []


@pytest.mark.parametrize("cls", [ScalewayTranscriptionParser, ScalewayTranscriptionReader])
def test_settings_that_contradict_each_other_are_refused(cls: Any) -> None:
    for wrong in (
        {"split_segments": True, "response_format": "text"},
        {"timestamp_granularities": ["word"], "response_format": "json"},
        {"timestamp_granularities": ["word"], "split_segments": True},
        {"response_format": "html"},
        {"temperature": 2},
    ):
        with pytest.raises(ConfigurationError):
            cls(api_key="a-key", **wrong)
    reader: Any = cls(api_key="a-key", extra_body={"a": {"b": 1}})
    file: Any = Blob.from_data(sound()) if cls is ScalewayTranscriptionParser else sound()
    with pytest.raises(InvalidRequestError, match="cannot be written as a form"):
        reader.transcribe(file)


def test_what_documents_have_no_place_for(settings: dict[str, Any], meeting: Path) -> None:
    transcript = ScalewayTranscriptionParser(**settings).transcribe(Blob.from_path(meeting))
    assert transcript.request_id
    assert (transcript.rate_limit or {})["limit_requests"] == 100_000
    assert transcript.raw is not None
    assert transcript.raw["usage"]["seconds"] == 4.0


def test_blobs_keep_their_metadata(settings: dict[str, Any], meeting: Path) -> None:
    blob = Blob.from_path(meeting, metadata={"speaker": "Ada", "source": "tape 1"})
    (document,) = ScalewayTranscriptionParser(**settings).lazy_parse(blob)
    assert (document.metadata["speaker"], document.metadata["source"]) == ("Ada", "tape 1")


def test_a_long_transcript_with_times_can_be_split(sandbox: Sandbox, settings: dict[str, Any]) -> None:
    sandbox.reset()
    segments = [{"start": second, "end": second + 1, "text": f" Sentence {second}."} for second in range(500)]
    text = "".join(segment["text"] for segment in segments)
    sandbox.add_rule(Reply(body={"text": text, "segments": segments}), route="transcriptions")
    documents = ScalewayTranscriptionReader(response_format="verbose_json", **settings).load_data(sound())
    nodes = SentenceSplitter().get_nodes_from_documents(documents)
    assert len(nodes) > 1
    assert all("start" not in node.get_content(MetadataMode.LLM) for node in nodes)
    assert len(nodes[0].metadata["segments"]) == 500


def test_leaf_package_is_the_same_class() -> None:
    assert (Leaf.ScalewayTranscriptionReader, Leaf.ScalewayOCRReader) == (
        ScalewayTranscriptionReader,
        ScalewayOCRReader,
    )


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_directory_is_read(settings: dict[str, Any], meeting: Path, is_async: bool) -> None:
    reader = pickle.loads(pickle.dumps(ScalewayTranscriptionReader(**settings)))
    directory = SimpleDirectoryReader(str(meeting.parent), file_extractor={".wav": reader}, raise_on_error=True)
    (document,) = await directory.aload_data() if is_async else directory.load_data()
    assert document.text == SAID
    assert (document.metadata["file_name"], document.metadata["file_size"]) == ("meeting.wav", len(sound()))
    assert "model" in document.excluded_embed_metadata_keys
