"""Scanned documents as text, through both frameworks, sync and async."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.document_loaders import Blob

from linkspan.errors import ConfigurationError, InvalidRequestError, InvalidResponseError, UnsupportedContentError
from linkspan.files import LARGEST_FILE, name_of
from linkspan.langchain import ScalewayOCRParser
from linkspan.llama_index import ScalewayOCRReader
from linkspan_sandbox import HTTPError, Reply, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from tests.documents.conftest import Read, Refuses

PDF = b"%PDF-1.7 a scan"
PNG = b"\x89PNG\r\n\x1a\n a picture"
URL = "https://bucket.example/scans/fares.pdf?signature=abc"


@pytest.fixture(autouse=True)
def _said(sandbox: Sandbox) -> None:
    sandbox.add_rule("# Fares\n\nDogs: 3 euros\f\fThird", route="ocr")


def test_an_address_is_sent_and_never_fetched(sandbox: Sandbox, read: Read) -> None:
    documents = read("ocr", URL)
    assert [text for text, _ in documents] == ["# Fares\n\nDogs: 3 euros", "", "Third"]
    assert [(one["page"], one["page_label"], one["model"]) for _, one in documents] == [
        (number, str(number + 1), "mistral-ocr-2512") for number in range(3)
    ]
    assert [request.json for request in sandbox.requests] == [
        {"model": "mistral-ocr-2512", "document": {"type": "document_url", "document_url": URL}}
    ]
    assert sandbox.last_request.path == "/scaleway/v1/ocr"


@pytest.mark.parametrize(
    "case",
    [
        ("a.pdf", PDF, "document_url", "application/pdf"),
        ("a.bin", PNG, "image_url", "image/png"),
        (
            "a.docx",
            b"PK\x03\x04...",
            "document_url",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
    ],
)
def test_a_file_travels_inside_the_request(
    sandbox: Sandbox, read: Read, tmp_path: Path, case: tuple[str, bytes, str, str]
) -> None:
    name, content, kind, media_type = case
    (tmp_path / name).write_bytes(content)
    read("ocr", tmp_path / name, pages=[0, 2], extra_body={"include_image_base64": True})
    data = base64.b64encode(content).decode()
    assert sandbox.last_request.json == {
        "model": "mistral-ocr-2512",
        "document": {"type": kind, kind: f"data:{media_type};base64,{data}"},
        "pages": [0, 2],
        "include_image_base64": True,
    }


def test_pages_are_those_that_were_asked_for(read: Read) -> None:
    assert [one["page"] for _, one in read("ocr", PDF, pages=[2, 0])] == [0, 2]
    with pytest.raises(InvalidResponseError, match=r"the pages \[7\] are missing"):
        read("ocr", PDF, pages=[0, 7])


def test_an_image_at_an_address_is_sent_as_one(sandbox: Sandbox, read: Read) -> None:
    read("ocr", "https://bucket.example/scan.jpg")
    assert sandbox.last_request.json["document"]["type"] == "image_url"


NOT_TAKEN: list[tuple[str, bytes, type[Exception], str]] = [
    ("a.pdf", b"", InvalidRequestError, r"'a\.pdf' is empty"),
    ("a.pdf", b"%PDF-" + b"x" * LARGEST_FILE, InvalidRequestError, "more than 25 MB"),
    ("a.txt", b"words", UnsupportedContentError, "it is txt.*pdf, docx, pptx and images"),
    ("a.zip", b"PK\x03\x04...", UnsupportedContentError, "cannot be read by OCR"),
    ("a.svg", b"<svg></svg>", UnsupportedContentError, "it is image/svg"),
    ("a.pdf", b"words", UnsupportedContentError, "it is no pdf by its content"),
]


def test_what_is_not_taken_is_refused_before_the_network(refuses: Refuses) -> None:
    for case in NOT_TAKEN:
        refuses("ocr", *case)


def test_a_pdf_may_have_other_bytes_before_its_head(sandbox: Sandbox, read: Read, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"\xef\xbb\xbf\n%PDF-1.7")
    read("ocr", tmp_path / "a.pdf")
    assert sandbox.last_request.json["document"]["document_url"].startswith("data:application/pdf;base64,")


def test_the_signature_of_an_address_is_not_the_name_of_a_file() -> None:
    assert name_of("https://bucket.example/scans/fares.pdf?X-Amz-Signature=secret#page") == "fares.pdf"
    assert name_of("scans/what?.pdf") == "what?.pdf"


def test_readers_of_llama_index_keep_no_signature(settings: dict[str, Any]) -> None:
    (first, *_) = ScalewayOCRReader(**settings).load_data(URL)
    assert first.metadata["file_name"] == "fares.pdf"


def test_a_refused_file_says_that_addresses_are_documented(sandbox: Sandbox, read: Read) -> None:
    sandbox.reset()
    sandbox.add_rule(Reply(fault=HTTPError(400, message="cannot fetch it")), route="ocr")
    with pytest.raises(InvalidRequestError, match=r"cannot fetch it.*Object Storage"):
        read("ocr", PDF)
    with pytest.raises(InvalidRequestError, match="cannot fetch it") as caught:
        read("ocr", URL)
    assert "Object Storage" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "no pages"),
        ({"pages": []}, "no pages"),
        ({"pages": [{"index": 0}]}, "no text"),
        ({"pages": [{"markdown": "a"}]}, "index None is missing"),
        ({"pages": [{"index": 0, "markdown": "a"}, {"index": 0, "markdown": "b"}]}, "twice"),
        ({"pages": [{"index": index, "markdown": "a"} for index in (0, 2, 3, 9)]}, r"the pages \[1, 4\] are missing"),
        ({"pages": "all"}, "pages must be a list"),
        ([], "not an object"),
    ],
)
def test_wrong_answers_are_errors(sandbox: Sandbox, read: Read, body: Any, said: str) -> None:
    sandbox.reset()
    sandbox.add_rule(Reply(body=body), route="ocr")
    with pytest.raises(InvalidResponseError, match=said):
        read("ocr", PDF)


def test_pages_come_in_their_order(sandbox: Sandbox, read: Read) -> None:
    sandbox.reset()
    pages = [{"index": 1, "markdown": "second"}, {"index": 0, "markdown": "first"}]
    sandbox.add_rule(Reply(body={"pages": pages}), route="ocr")
    assert [text for text, _ in read("ocr", PDF)] == ["first", "second"]


def test_a_page_that_was_not_asked_for_is_left_out(sandbox: Sandbox, read: Read) -> None:
    sandbox.reset()
    pages = [{"index": index, "markdown": str(index)} for index in range(3)]
    sandbox.add_rule(Reply(body={"pages": pages}), route="ocr")
    assert [text for text, _ in read("ocr", PDF, pages=[1])] == ["1"]
    with pytest.raises(ConfigurationError, match="pages: List should have at least 1 item"):
        read("ocr", PDF, pages=[])


def test_what_documents_have_no_place_for(settings: dict[str, Any]) -> None:
    answer = ScalewayOCRParser(**settings).read(Blob.from_data(PDF))
    assert (answer.usage or {})["pages_processed"] == 3
    assert answer.pages[0].raw["dimensions"]["dpi"] == 200
    assert answer.request_id
    assert (answer.rate_limit or {})["limit_requests"] == 100_000
