"""Answer a file of questions with Scaleway: concurrently, with progress, failures recorded, and resumable.

``python examples/batch_file.py QUESTIONS.jsonl ANSWERS.jsonl`` reads lines such as ``{"id": 7, "question": "..."}`` and
writes lines such as ``{"id": 7, "answer": "...", "output_tokens": 12}`` or ``{"id": 7, "error": "RateLimitError",
"message": "..."}`` as each answer arrives. A second run asks only questions without an answer: after Ctrl-C, after a
crash, or to retry failures. Without arguments it answers an example file, twice.

It calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a stand-in on this machine that echoes
and is overloaded for a while: ``pip install 'linkspan[langchain,sandbox]'``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from linkspan.errors import LinkspanError
from linkspan.langchain import ChatScaleway

MODEL = "llama-3.3-70b-instruct"
WORDS = ("linkspan", "ferry", "quay", "bollard", "gangway", "hawser")


def main() -> None:
    """Answer a file, or the example file."""
    parser = argparse.ArgumentParser(description="Answer a file of questions.")
    parser.add_argument("questions", type=Path, nargs="?")
    parser.add_argument("answers", type=Path, nargs="?")
    parser.add_argument("--at-once", type=int, default=4, help="number of concurrent questions")
    arguments = parser.parse_args()
    if (arguments.questions is None) is not (arguments.answers is None):
        parser.error("give both a questions file and an answers file, or neither")
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        # Two retries per question before it counts as failed.
        chat = ChatScaleway(model=MODEL, temperature=0, max_tokens=200, max_retries=2, **where)
        if arguments.questions is not None:
            asyncio.run(answer_file(chat, arguments.questions, arguments.answers, arguments.at_once))
            return
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lines = [{"id": number, "question": f"What is a {word}?"} for number, word in enumerate(WORDS, start=1)]
        (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        for _ in range(2):
            asyncio.run(answer_file(chat, folder / "questions.jsonl", folder / "answers.jsonl", arguments.at_once))


async def answer_file(chat: ChatScaleway, questions: Path, answers: Path, at_once: int) -> None:
    """Ask the questions without an answer."""
    known = keep_answers(answers)
    waiting = [line for line in read_questions(questions) if line["id"] not in known]
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress, answers.open("a", encoding="utf-8") as file:
        bar = progress.add_task(f"{len(known)} known already, {len(waiting)} to ask", total=len(waiting))
        # Connections belong to an event loop: close them before it ends.
        async with chat:
            outcomes = chat.abatch_as_completed(
                [line["question"] for line in waiting], {"max_concurrency": at_once}, return_exceptions=True
            )
            async for place, outcome in outcomes:
                line = {"id": waiting[place]["id"], **in_words(outcome)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                file.flush()
                failed += "error" in line
                progress.advance(bar)
    print(f"{len(waiting) - failed} answered, {failed} failed")


def in_words(outcome: Any) -> dict[str, Any]:
    """Return the row for an answer or a failure."""
    if isinstance(outcome, LinkspanError):
        return {"error": type(outcome).__name__, "message": str(outcome)}
    if isinstance(outcome, Exception):
        # Not an API error, so it would recur for each line.
        raise outcome
    return {"answer": outcome.text, "output_tokens": outcome.usage_metadata["output_tokens"]}


def keep_answers(path: Path) -> set[Any]:
    """Remove failures and a truncated line from a file of answers; return the ids with an answer."""
    if not path.exists():
        return set()
    answered = [line for line in read_lines(path, cut_short=True) if "answer" in line]
    # Replace the file atomically, so that a crash leaves one whole file.
    fresh = path.with_name(path.name + ".new")
    fresh.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in answered), "utf-8")
    fresh.replace(path)
    return {line["id"] for line in answered}


def read_questions(path: Path) -> list[dict[str, Any]]:
    """Return the questions; refuse invalid lines and duplicate ids."""
    lines = read_lines(path)
    for number, line in enumerate(lines, start=1):
        if "id" not in line or not isinstance(line.get("question"), str):
            raise SystemExit(f'{path}: question {number} must look like {{"id": ..., "question": "..."}}, not {line}')
    if len({line["id"] for line in lines}) < len(lines):
        raise SystemExit(f"{path}: ids must be unique, but one occurs twice")
    return lines


def read_lines(path: Path, *, cut_short: bool = False) -> list[dict[str, Any]]:
    """Return the objects of a JSONL file, without blank lines. A stopped program may have cut the last one short."""
    lines = path.read_text("utf-8").split("\n")
    if cut_short:
        lines.pop()
    return [json.loads(line) for line in lines if line.strip()]


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import HTTPError, Reply, Rule, run  # noqa: PLC0415  # needed only without a key

    # Overloaded for longer than the retries wait, so that some questions fail.
    busy = Reply(fault=HTTPError(429, headers={"retry-after": "3600"}))
    sandbox = stack.enter_context(run(rules=[Rule(busy, when="bollard", times=1)]))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
