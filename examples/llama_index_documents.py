"""A LlamaIndex query engine over a folder of recordings and scans, with one Scaleway key.

``python examples/llama_index_documents.py [FOLDER]`` calls the real service if ``SCW_SECRET_KEY`` is set, with your
folder. Without one it creates a recording and a scan; without a key it starts a stand-in on this machine that answers
from a script: ``pip install 'linkspan[llama-index,sandbox]'``.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import wave
from contextlib import ExitStack
from pathlib import Path

from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.readers.base import BaseReader

from linkspan.llama_index import Scaleway, ScalewayEmbedding, ScalewayOCRReader, ScalewayTranscriptionReader

SOUND = (".flac", ".m4a", ".mp3", ".ogg", ".wav", ".webm")
SCANS = (".pdf", ".png", ".jpg", ".jpeg", ".tiff")


def main() -> None:
    """Load a folder and ask two questions."""
    with ExitStack() as stack:
        folder = sys.argv[1] if len(sys.argv) > 1 else write_files(stack)
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        listener = stack.enter_context(ScalewayTranscriptionReader(**where))
        reader = stack.enter_context(ScalewayOCRReader(**where))
        llm = stack.enter_context(Scaleway(model="llama-3.3-70b-instruct", temperature=0, **where))
        embed_model = stack.enter_context(ScalewayEmbedding(model="qwen3-embedding-8b", dimensions=1024, **where))

        extractors: dict[str, BaseReader] = {**dict.fromkeys(SOUND, listener), **dict.fromkeys(SCANS, reader)}
        documents = SimpleDirectoryReader(folder, file_extractor=extractors, raise_on_error=True).load_data()
        # LlamaIndex omits pages without text from the index.
        index = VectorStoreIndex.from_documents(documents, embed_model=embed_model)
        engine = index.as_query_engine(llm=llm, similarity_top_k=1)

        answer = engine.query("When does the ferry leave today?")
        print(f"{answer} ({answer.source_nodes[0].metadata['file_name']})")

        async def ask(question: str) -> str:
            # Connections belong to an event loop: close them before it ends.
            async with llm, embed_model:
                found = await engine.aquery(question)
            known = found.source_nodes[0].metadata
            return f"{found} ({known['file_name']}, page {known['page_label']})"

        print(asyncio.run(ask("What does a dog pay?")))


def write_files(stack: ExitStack) -> str:
    """Write a silent recording and a scan with an empty page."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    with wave.open(str(folder / "announcement.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    (folder / "fares.pdf").write_bytes(
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    )
    return str(folder)


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    rules = [
        # The files' contents: the stand-in does not process them.
        Rule("Good morning. The ferry to Ostra will leave at ten today. Mind your step.", route="transcriptions"),
        Rule("# Fares\n\nA car pays 40 euros.\f\fA dog pays 3 euros, on a lead.", route="ocr"),
        Rule("It leaves at ten.", when="When does"),
        Rule("3 euros.", when="a dog pay"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
