"""The examples that ask spoken and scanned documents; each without a key and with one, at the same time."""

from __future__ import annotations

import pytest

from linkspan_sandbox import Rule, run
from tests.support.examples import start_example

KEY = "the-key-of-the-user"
SCRIPTED = {
    "langchain_documents": [
        "It leaves at ten.",
        "- announcement.wav, second 1",
        "A dog pays 3 euros.",
        "- fares.pdf, page 3",
    ],
    "llama_index_documents": ["It leaves at ten. (announcement.wav)", "3 euros. (fares.pdf, page 3)"],
}
ASKED = {
    "langchain_documents": ["So says the service.", "- announcement.wav, second 0"] * 2,
    "llama_index_documents": [
        "So says the service. (announcement.wav)",
        "So says the service. (fares.pdf, page 1)",
    ],
}


@pytest.mark.parametrize("name", SCRIPTED)
def test_it_answers_from_sound_and_scans(name: str) -> None:
    rules = [
        Rule("The ferry leaves when it is full, and takes what does not pay.", route="transcriptions"),
        Rule("A dog does pay.", route="ocr"),
        Rule("So says the service."),
    ]
    if name == "langchain_documents":
        rules[1] = Rule("Nothing.", route="ocr")
    with run(api_key=KEY, rules=rules) as service:
        processes = [
            start_example(name),
            start_example(name, SCW_SECRET_KEY=KEY, SCALEWAY_BASE_URL=service.scaleway_url),
        ]
        outcomes = [process.ended() for process in processes]
        requests = list(service.requests)
    for outcome, wanted in zip(outcomes, (SCRIPTED[name], ASKED[name]), strict=True):
        assert outcome.returncode == 0, outcome.stderr
        assert outcome.stdout.splitlines() == wanted
    paths = {request.path.rpartition("/v1/")[2] for request in requests}
    assert paths == {"audio/transcriptions", "ocr", "embeddings", "chat/completions"}
    assert all(request.status == 200 for request in requests)
