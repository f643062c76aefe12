"""``linkspan demo``: run both frameworks over HTTP against a small real model on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from linkspan.commands import console
from linkspan.errors import LinkspanError
from linkspan_sandbox import Sandbox, run
from linkspan_sandbox.commands.weights import ensure_weights
from linkspan_sandbox.local_model import MODEL_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages.ai import UsageMetadata

__all__ = ["run_demo"]

_INTERRUPTED = 130

_STREAMED_QUESTION = "What is a ferry?"

_DOCUMENT = (
    "A linkspan is a hinged bridge between a quay and a ship. Cars drive on board over it, whatever the tide.",
    "The linkspan of the harbour of Ostra was built in 1974. It is 60 metres long and carries 180 tonnes.",
    "The ferry to Ostra leaves every day at 9 o'clock and takes two hours. Bicycles travel free of charge.",
)
_EMBEDDING_MODEL = "qwen3-embedding-8b"
_DIMENSIONS = 256
_QUERY = "How long is the linkspan of Ostra?"

_BATCH = (
    "Name the capital of France.",
    "What is the opposite of hot?",
    "Which animal says meow?",
    "How many days has a week?",
    "What is 2 plus 2?",
    "What colour is the sky?",
)


@dataclass
class _Row:
    """One line of the summary."""

    what: str
    calls: int
    tokens_in: int
    tokens_out: int
    seconds: float


class _StepFailed(Exception):
    def __init__(self, step: str, advice: str) -> None:
        super().__init__(step)
        self.step = step
        self.advice = advice


@contextlib.contextmanager
def _step(what: str, advice: str) -> Iterator[None]:
    """Report the step that an error comes from, and the remedy."""
    try:
        yield
    except Exception as error:
        raise _StepFailed(what, advice) from error


def run_demo() -> int:
    """Run the demo and return the exit code."""
    started = time.monotonic()
    try:
        rows = _run()
    except KeyboardInterrupt:
        console.out.print("\ninterrupted; everything has stopped")
        return _INTERRUPTED
    except _StepFailed as failed:
        cause = failed.__cause__ or failed
        console.failure(failed.step, cause, advice=failed.advice)
        if not isinstance(cause, (LinkspanError, ImportError)):
            console.traceback_of(cause)
        return 1
    _summarise(rows, time.monotonic() - started)
    return 0


def _run() -> list[_Row]:
    with _step("fetching the model", "Check the network and run the demo again; finished downloads are kept."):
        ensure_weights()
    with (
        _step("loading the frameworks", "Install what the demo needs: pip install 'linkspan[all]'"),
        console.working("loading LangChain and LlamaIndex"),
    ):
        import linkspan.langchain  # noqa: PLC0415  # seconds of imports, so not before the weights are there
        import linkspan.llama_index  # noqa: F401, PLC0415
    sandbox = run("local")
    try:
        with (
            _step(
                "starting the model", "If memory is short (it needs 300 MB), close other programs, then run it again."
            ),
            console.working(f"starting {MODEL_NAME} on this machine's CPU"),
        ):
            sandbox.start()
        console.out.print(f"{MODEL_NAME} answers at {sandbox.scaleway_url} in Scaleway's dialect.")
        console.out.print(
            "It is tiny: its answers prove that the connection works, not that the model is right.\n", style="dim"
        )
        return [
            _demonstrate("the streamed LangChain chain", _stream_chain, sandbox),
            _demonstrate("the LlamaIndex query engine", _query_document, sandbox),
            _demonstrate("the async LangChain batch", _batch, sandbox),
        ]
    finally:
        sandbox.stop()


def _demonstrate(name: str, part: Callable[[Sandbox], _Row], sandbox: Sandbox) -> _Row:
    with _step(name, "This is a bug in linkspan: please report it with the lines above."):
        row = part(sandbox)
        if not row.calls or not row.tokens_out:
            raise RuntimeError(f"no token counts received: {row}")
    console.out.print()
    return row


def _chat_model(sandbox: Sandbox, max_tokens: int) -> Any:
    from linkspan.langchain import ChatScaleway  # noqa: PLC0415  # see _run

    return ChatScaleway(
        model=MODEL_NAME,
        base_url=sandbox.scaleway_url,
        api_key=sandbox.api_key,
        temperature=0,
        max_tokens=max_tokens,
    )


def _row(what: str, calls: int, usage: dict[str, UsageMetadata], seconds: float) -> _Row:
    counts = usage.values()
    return _Row(
        what,
        calls,
        sum(count["input_tokens"] for count in counts),
        sum(count["output_tokens"] for count in counts),
        seconds,
    )


def _stream_chain(sandbox: Sandbox) -> _Row:
    from langchain_core.callbacks import UsageMetadataCallbackHandler  # noqa: PLC0415  # see _run
    from langchain_core.output_parsers import StrOutputParser  # noqa: PLC0415
    from langchain_core.prompts import ChatPromptTemplate  # noqa: PLC0415

    console.out.print("[bold]LangChain[/]  prompt | ChatScaleway | StrOutputParser, streamed")
    console.out.print(f"[cyan]{_STREAMED_QUESTION}[/]")
    prompt = ChatPromptTemplate.from_messages([("system", "Answer in two sentences."), ("human", "{question}")])
    chain = prompt | _chat_model(sandbox, max_tokens=96) | StrOutputParser()
    usage = UsageMetadataCallbackHandler()
    started = time.monotonic()
    for token in chain.stream({"question": _STREAMED_QUESTION}, config={"callbacks": [usage]}):
        console.out.print(escape(token), end="", soft_wrap=True)
    console.out.print()
    return _row("LangChain chain, streamed", 1, usage.usage_metadata, time.monotonic() - started)


def _query_document(sandbox: Sandbox) -> _Row:
    from llama_index.core import VectorStoreIndex, get_response_synthesizer  # noqa: PLC0415  # see _run
    from llama_index.core.callbacks import CallbackManager, TokenCountingHandler  # noqa: PLC0415
    from llama_index.core.query_engine import RetrieverQueryEngine  # noqa: PLC0415
    from llama_index.core.schema import TextNode  # noqa: PLC0415

    from linkspan.llama_index import Scaleway, ScalewayEmbedding  # noqa: PLC0415

    console.out.print("[bold]LlamaIndex[/]  a query engine over a short document, with Scaleway as its llm")
    console.out.print(f"[cyan]{_QUERY}[/]")
    # The handler uses the server's counts; its tokenizer is needed only without them.
    counter = TokenCountingHandler(tokenizer=_refuse_to_guess)
    llm = Scaleway(
        model=MODEL_NAME,
        api_base=sandbox.scaleway_url,
        api_key=sandbox.api_key,
        temperature=0,
        max_tokens=64,
    )
    # The sandbox's embeddings compare words. A keyword index would read nltk's files, which nltk refuses if uv
    # installed them as hard links.
    embed_model = ScalewayEmbedding(
        model=_EMBEDDING_MODEL, api_base=sandbox.scaleway_url, api_key=sandbox.api_key, dimensions=_DIMENSIONS
    )
    index = VectorStoreIndex([TextNode(text=text) for text in _DOCUMENT], embed_model=embed_model)
    retriever = index.as_retriever(similarity_top_k=1)
    # Not index.as_query_engine(): its synthesizer would replace this callback manager by the global one.
    callbacks = CallbackManager([counter])
    synthesizer = get_response_synthesizer(llm=llm, callback_manager=callbacks)
    engine = RetrieverQueryEngine(retriever, synthesizer, callback_manager=callbacks)
    started = time.monotonic()
    with console.working("retrieving and asking"):
        answer = engine.query(_QUERY)
    console.out.print(escape(str(answer).strip()), soft_wrap=True)
    sources = len(answer.source_nodes)
    console.out.print(f"(from {sources} of {len(_DOCUMENT)} passages)", style="dim")
    return _Row(
        "LlamaIndex query engine",
        len(counter.llm_token_counts),
        counter.prompt_llm_token_count,
        counter.completion_llm_token_count,
        time.monotonic() - started,
    )


def _refuse_to_guess(text: str) -> list[str]:
    raise RuntimeError(f"the answer carried no token counts, and {len(text)} characters would have to be guessed at")


def _batch(sandbox: Sandbox) -> _Row:
    from langchain_core.callbacks import UsageMetadataCallbackHandler  # noqa: PLC0415  # see _run

    console.out.print(f"[bold]LangChain[/]  abatch of {len(_BATCH)} prompts, 4 at a time")
    columns = (TextColumn("answers"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console.out) as progress:
        task = progress.add_task("answers", total=len(_BATCH))

        class Advance(UsageMetadataCallbackHandler):
            """Counts tokens, and advances the bar with each answer."""

            def on_llm_end(self, response: Any, **kwargs: Any) -> None:
                super().on_llm_end(response, **kwargs)
                progress.advance(task)

        counter = Advance()
        model = _chat_model(sandbox, max_tokens=24)
        started = time.monotonic()
        config = {"callbacks": [counter], "max_concurrency": 4}
        answers = asyncio.run(model.abatch(list(_BATCH), config=config))
        seconds = time.monotonic() - started
    for question, answer in zip(_BATCH, answers, strict=True):
        text = " ".join(answer.text.split())
        console.out.print(f"[cyan]{escape(question)}[/] {escape(text)}", soft_wrap=True)
    return _row("LangChain async batch", len(_BATCH), counter.usage_metadata, seconds)


def _summarise(rows: list[_Row], seconds: float) -> None:
    table = Table(title="Summary", title_justify="left")
    table.add_column("part", no_wrap=True)
    for heading in ("calls", "tokens in", "tokens out", "seconds", "tokens/s"):
        table.add_column(heading, justify="right")
    for row in rows:
        rate = row.tokens_out / row.seconds if row.seconds else 0
        table.add_row(
            row.what, str(row.calls), str(row.tokens_in), str(row.tokens_out), f"{row.seconds:.1f}", f"{rate:.0f}"
        )
    console.out.print(table)
    console.out.print(f"All parts worked, in {seconds:.1f} s altogether. The local server was stopped.")
