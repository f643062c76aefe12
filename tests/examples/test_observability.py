"""Spans and log lines of the example: what they tell, and that they tell no prompt, no answer and no key."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from linkspan_sandbox import Rule, run
from tests.support.examples import start_example

KEY = "the-key-of-the-user"
#: Of the prompts and of the script's answers.
WORDS = ("Explain in one sentence", "Hello?", "How long", "60 metres", "hinged bridge")
WITH_CONTENT = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}


class Span(NamedTuple):
    name: str
    parent: str | None
    status: str
    attributes: dict[str, Any]


def read_spans(printed: str) -> dict[str, Span]:
    spans = {}
    for line in printed.splitlines():
        if line.startswith("span  "):
            head, brace, attributes = line.partition("{")
            words = head.split()[1:]
            parent = words[2] if words[1] == "in" else None
            name = " ".join(words[3 if parent else 1 : -1])
            spans[words[0]] = Span(name, parent, words[-1], json.loads(brace + attributes))
    return spans


def test_spans_and_logs_tell_what_happened_and_no_words_unless_asked() -> None:
    # Where nothing is asked for, and with a service: there it is asked for, and no retry is needed.
    with run(api_key=KEY, rules=[Rule("So says the service.")]) as service:
        asking = start_example(
            "observability", SCW_SECRET_KEY=KEY, SCALEWAY_BASE_URL=service.scaleway_url, **WITH_CONTENT
        )
        plain, full = start_example("observability").ended(), asking.ended()
    for outcome in (plain, full):
        assert outcome.returncode == 0, outcome.stderr
        assert outcome.stderr == ""

    check_tree(read_spans(plain.stdout))
    check_log([line for line in plain.stdout.splitlines() if line.startswith("log ")])
    assert not [words for words in WORDS if words in plain.stdout]

    assert KEY not in full.stdout
    contents = [
        span.attributes for span in read_spans(full.stdout).values() if "gen_ai.input.messages" in span.attributes
    ]
    assert any("Explain in one sentence: linkspan" in said["gen_ai.input.messages"] for said in contents)
    assert any("linkspan of Ostra" in said["gen_ai.input.messages"] for said in contents)
    assert sum("So says the service" in said.get("gen_ai.output.messages", "") for said in contents) == 2


def check_tree(spans: dict[str, Span]) -> None:
    def path_of(span: Span) -> list[str]:
        return [span.name, *(path_of(spans[span.parent]) if span.parent else [])]

    requests = [span for span in spans.values() if span.name == "POST"]
    assert [span.attributes["http.status_code"] for span in requests] == [429, 200, 200, 422]
    chain = ["POST", "chat llama-3.3-70b-instruct", "explain"]
    assert [path_of(requests[0]), path_of(requests[1])] == [chain, chain]
    engine = path_of(requests[2])
    assert (engine[:2], engine[-1]) == (["POST", "Scaleway.chat"], "RetrieverQueryEngine.query")
    assert path_of(requests[3]) == ["POST", "chat llama-of-tomorrow"]

    by_name = {span.name: span for span in spans.values()}
    streamed = by_name["chat llama-3.3-70b-instruct"].attributes
    assert streamed["gen_ai.provider.name"] == "scaleway"
    assert streamed["gen_ai.response.finish_reasons"] == ["stop"]
    assert streamed["gen_ai.usage.input_tokens"] == 5
    assert streamed["gen_ai.usage.output_tokens"] > 0
    assert by_name["Scaleway.chat"].attributes["gen_ai.usage.input_tokens"] > 0
    failed = by_name["chat llama-of-tomorrow"]
    assert (failed.status, failed.attributes["error.type"]) == ("ERROR", "InvalidRequestError")


def check_log(lines: list[str]) -> None:
    assert [line.split()[1] for line in lines] == ["DEBUG", "WARNING", "DEBUG", "DEBUG", "DEBUG"]
    assert "attempt 1 failed (RateLimitError, HTTP 429)" in lines[1]
    assert [line.partition("-> ")[2].split()[0] for line in lines if "DEBUG" in line] == ["429", "200", "200", "422"]
