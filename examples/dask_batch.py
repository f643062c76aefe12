"""A batch over a data set on many machines: a pool of Dask actors, each with its own model and connections.

``python examples/dask_batch.py questions.jsonl answers.jsonl`` reads rows ``{"id": ..., "question": ...}`` and appends
``{"id": ..., "answer": ...}`` or ``{"id": ..., "error": ..., "message": ...}``. A second run asks only questions
without an answer, including failures. ``--scheduler tcp://host:8786`` uses a cluster instead of processes on this
machine.

It calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a stand-in on this machine that answers
from a script: ``pip install 'linkspan[langchain,sandbox]' distributed``.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster
from langchain_core.rate_limiters import InMemoryRateLimiter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from linkspan.langchain import ChatScaleway

MODEL = "llama-3.3-70b-instruct"
ROWS_PER_BATCH = 8
Row = dict[str, Any]


class Asker:
    """An actor on one worker. The model arrives as a pickle; its connections are opened there.

    Args:
        model: The model.
        requests_per_second: This worker's share of the rate.
    """

    def __init__(self, model: ChatScaleway, requests_per_second: float) -> None:
        limiter = InMemoryRateLimiter(
            requests_per_second=requests_per_second, check_every_n_seconds=0.02, max_bucket_size=ROWS_PER_BATCH
        )
        self.model = model.model_copy(update={"rate_limiter": limiter})

    def process(self) -> int:
        """Return this process's id."""
        return os.getpid()

    def ask(self, rows: list[Row]) -> list[Row]:
        """Ask some questions concurrently; a failure becomes a row and does not stop the others."""
        questions = [row["question"] for row in rows]
        answers = self.model.batch(questions, config={"max_concurrency": 4}, return_exceptions=True)
        return [as_row(row["id"], answer) for row, answer in zip(rows, answers, strict=True)]


def as_row(identity: Any, answer: Any) -> Row:
    """Return the row for one answer."""
    if isinstance(answer, Exception):
        return {"id": identity, "error": type(answer).__name__, "message": str(answer)}
    return {"id": identity, "answer": answer.text, "tokens": (answer.usage_metadata or {}).get("output_tokens")}


def main() -> None:
    """Ask every question without an answer."""
    arguments = read_arguments()
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        model = ChatScaleway(model=MODEL, temperature=0, max_tokens=200, **where)
        drop_half_a_row(arguments.answers)
        rows = unanswered(arguments.questions, arguments.answers)
        if not rows:
            print("all questions are answered")
            return
        client = stack.enter_context(cluster(arguments.scheduler, arguments.workers, stack))
        share = arguments.rate / arguments.workers
        futures = [client.submit(Asker, model, share, actor=True, pure=False) for _ in range(arguments.workers)]
        actors = client.gather(futures)
        processes = {actor.process().result() for actor in actors}
        print(f"{len(rows)} to ask, {len(actors)} actors in {len(processes)} processes")
        failed = work(actors, rows, arguments.answers)
    print(f"{len(rows) - failed} answered, {failed} failed" + ("; run again to retry them" if failed else ""))


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--scheduler", help="address of a Dask scheduler; default: processes on this machine")
    parser.add_argument("--workers", type=int, default=2, help="how many actors")
    parser.add_argument("--rate", type=float, default=50, help="requests per second, all actors together")
    return parser.parse_args()


def cluster(scheduler: str | None, workers: int, stack: ExitStack) -> Client:
    """Connect to a cluster, or start one on this machine."""
    if scheduler:
        return Client(scheduler)
    local = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None)
    return Client(stack.enter_context(local))


def unanswered(questions: Path, answers: Path) -> list[Row]:
    """Return the rows without an answer."""
    done = {row["id"] for row in read_rows(answers) if "answer" in row} if answers.exists() else set()
    return [row for row in read_rows(questions) if row["id"] not in done]


def read_rows(path: Path) -> list[Row]:
    """Read a file of JSON lines."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def drop_half_a_row(answers: Path) -> None:
    """Remove a half-written last line, which a killed run leaves."""
    written = answers.read_bytes() if answers.exists() else b""
    if written and not written.endswith(b"\n"):
        answers.write_bytes(written[: written.rfind(b"\n") + 1])


def work(actors: list[Any], rows: list[Row], answers: Path) -> int:
    """Keep every actor busy, write rows as they arrive, and return the number of failed questions."""
    batches: queue.SimpleQueue[list[Row]] = queue.SimpleQueue()
    for start in range(0, len(rows), ROWS_PER_BATCH):
        batches.put(rows[start : start + ROWS_PER_BATCH])
    columns = (TextColumn("asked"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    lock = threading.Lock()
    failed = 0

    with answers.open("a", encoding="utf-8") as file, Progress(*columns) as progress:
        task = progress.add_task("", total=len(rows))

        def serve(actor: Any) -> None:
            nonlocal failed
            while True:
                try:
                    batch = batches.get_nowait()
                except queue.Empty:
                    return
                results = actor.ask(batch).result()
                with lock:
                    file.writelines(f"{json.dumps(result, ensure_ascii=False)}\n" for result in results)
                    file.flush()
                    failed += sum("error" in result for result in results)
                    progress.advance(task, len(results))

        with ThreadPoolExecutor(len(actors)) as pool:
            list(pool.map(serve, actors))
    return failed


def start_sandbox(stack: ExitStack) -> dict[str, Any]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import run  # noqa: PLC0415  # needed only without a key

    sandbox = stack.enter_context(run())
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
