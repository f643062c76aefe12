"""LangChain retrieval over a recording and a scan, with one Scaleway key: transcribe, OCR, embed, search, answer.

``python examples/langchain_documents.py [FILE...]`` calls the real service if ``SCW_SECRET_KEY`` is set, with your
recordings (mp3, wav, ogg, …) and scans (PDF, PNG, … or an https URL). Without files it creates a recording and a scan;
without a key it starts a stand-in on this machine that answers from a script: ``pip install
'linkspan[langchain,sandbox]' numpy``.
"""

from __future__ import annotations

import mimetypes
import os
import sys
import tempfile
import wave
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_core.document_loaders import Blob
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore

from linkspan.langchain import (
    ChatScaleway,
    ScalewayEmbeddings,
    ScalewayOCRParser,
    ScalewayTranscriptionParser,
)

if TYPE_CHECKING:
    from langchain_core.documents import Document

PROMPT = ChatPromptTemplate.from_template(
    "Answer in one sentence, from these passages alone.\n\n{passages}\n\nQuestion: {question}"
)
QUESTIONS = ["When does the ferry leave today?", "What does a dog pay?"]


def main() -> None:
    """Read the files and ask two questions."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = sys.argv[1:] or [str(recording(folder)), str(scan(folder))]
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        chat = stack.enter_context(ChatScaleway(model="llama-3.3-70b-instruct", temperature=0, **where))
        embeddings = stack.enter_context(ScalewayEmbeddings(model="qwen3-embedding-8b", dimensions=1024, **where))
        # Roughly one document per sentence, with its time, and one per page.
        listener = stack.enter_context(ScalewayTranscriptionParser(split_segments=True, **where))
        reader = stack.enter_context(ScalewayOCRParser(**where))

        documents: list[Document] = []
        for file in files:
            parser = listener if (mimetypes.guess_type(file)[0] or "").startswith("audio/") else reader
            documents += parser.lazy_parse(Blob.from_path(file))
        # A page without text cannot be embedded.
        store = InMemoryVectorStore.from_documents([one for one in documents if one.page_content.strip()], embeddings)

        for question in QUESTIONS:
            found = store.similarity_search(question, k=1)
            passages = "\n\n".join(document.page_content for document in found)
            print((PROMPT | chat).invoke({"passages": passages, "question": question}).text)
            print("-", place_of(found[0]))


def place_of(document: Document) -> str:
    """Return a passage's source, for people."""
    known = document.metadata
    inside = f"page {known['page_label']}" if "page_label" in known else f"second {known['start']:.0f}"
    return f"{Path(known['source']).name}, {inside}"


def recording(folder: Path) -> Path:
    """Write a recording: one second of silence."""
    path = folder / "announcement.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    return path


def scan(folder: Path) -> Path:
    """Write a scan: a PDF with an empty page."""
    path = folder / "fares.pdf"
    path.write_bytes(
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    )
    return path


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    rules = [
        # The files' contents: the stand-in does not process them.
        Rule("Good morning. The ferry to Ostra will leave at ten today. Mind your step.", route="transcriptions"),
        Rule("# Fares\n\nA car pays 40 euros.\f\fA dog pays 3 euros, on a lead.", route="ocr"),
        Rule("It leaves at ten.", when="When does"),
        Rule("A dog pays 3 euros.", when="a dog pay"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
