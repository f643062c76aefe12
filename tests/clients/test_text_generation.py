"""TGI's dialect as its own client, ``text-generation``, sees it.

Its answers are pydantic models, checked by the client as they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from text_generation import AsyncClient, Client
from text_generation.errors import GenerationError, OverloadedError, ValidationError
from text_generation.types import FinishReason

from linkspan_sandbox import DataCrunchOptions, ErrorEvent, HTTPError, Reply, run
from tests.clients.conftest import KEY, Served, read_until
from tests.clients.typed import assert_strict

if TYPE_CHECKING:
    from text_generation.types import Response, StreamResponse

    from linkspan_sandbox import Sandbox

PROMPT = "Count from one to five."
PIECES = ["Count", " from", " one", " to", " five."]
SEPARATED = ["one\u2028", "two\u2029", "three\u0085", "four"]
HEADERS = {"Authorization": f"Bearer {KEY}"}


def client(sandbox: Sandbox) -> Client:
    return Client(sandbox.tgi_url, headers=HEADERS, timeout=60)


def async_client(sandbox: Sandbox) -> AsyncClient:
    return AsyncClient(sandbox.tgi_url, headers=HEADERS, timeout=60)


def check_answer(served: Served, answer: Response) -> None:
    assert_strict(answer)
    served.expect(answer.generated_text, PROMPT)
    spoken = [token.text for token in answer.details.tokens if not token.special]
    served.expect_pieces(spoken, PIECES)
    assert "".join(spoken) == answer.generated_text
    assert answer.details.generated_tokens == len(answer.details.tokens)
    ends = {FinishReason.EndOfSequenceToken} if served.exact else {FinishReason.EndOfSequenceToken, FinishReason.Length}
    assert answer.details.finish_reason in ends


def check_events(served: Served, events: list[StreamResponse]) -> None:
    for event in events:
        assert_strict(event)
    *earlier, last = events
    assert all(event.generated_text is None for event in earlier)
    spoken = [event.token.text for event in events if not event.token.special]
    served.expect_pieces(spoken, PIECES)
    assert last.generated_text == "".join(spoken)
    assert last.details is not None
    assert last.details.generated_tokens == len(events)


def test_generate(served: Served) -> None:
    check_answer(served, client(served.sandbox).generate(PROMPT, max_new_tokens=7))


async def test_generate_async(by_rules: Served) -> None:
    check_answer(by_rules, await async_client(by_rules.sandbox).generate(PROMPT, max_new_tokens=7))


def test_generate_stream(served: Served) -> None:
    check_events(served, list(client(served.sandbox).generate_stream(PROMPT, max_new_tokens=7)))


async def test_generate_stream_async(by_rules: Served) -> None:
    stream = async_client(by_rules.sandbox).generate_stream(PROMPT, max_new_tokens=7)
    check_events(by_rules, [event async for event in stream])


def test_every_parameter(served: Served) -> None:
    answer = client(served.sandbox).generate(
        PROMPT,
        do_sample=True,
        max_new_tokens=6,
        repetition_penalty=1.1,
        frequency_penalty=0.5,
        return_full_text=True,
        seed=2**64 - 1,
        temperature=0.7,
        top_k=10,
        top_p=0.9,
        truncate=100,
        typical_p=0.9,
        decoder_input_details=True,
        top_n_tokens=1,
    )
    assert_strict(answer)
    assert answer.generated_text.startswith(PROMPT)
    assert answer.details.seed == 2**64 - 1
    assert answer.details.prefill[0].logprob is None
    assert [len(row) for row in answer.details.top_tokens or ()] == [1] * answer.details.generated_tokens


def test_the_better_of_two(served: Served) -> None:
    answer = client(served.sandbox).generate(PROMPT, max_new_tokens=4, do_sample=True, best_of=2)
    assert_strict(answer)
    assert len(answer.details.best_of_sequences or ()) == 1


@pytest.mark.parametrize("version", ["1.1.0", "2.0.4", "2.4.0"])
async def test_older_servers(version: str) -> None:
    with run(api_key=KEY, datacrunch_options=DataCrunchOptions(version=version)) as sandbox:
        served = Served(sandbox, exact=True)
        check_answer(served, client(sandbox).generate(PROMPT, max_new_tokens=7))
        check_events(served, list(client(sandbox).generate_stream(PROMPT, max_new_tokens=7)))
        stream = async_client(sandbox).generate_stream(PROMPT, max_new_tokens=7)
        check_events(served, [event async for event in stream])


async def test_separators_of_lines_inside_a_token(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(text=SEPARATED))
    events = [*client(scripted).generate_stream(PROMPT)]
    events += [event async for event in async_client(scripted).generate_stream(PROMPT)]
    assert [event.token.text for event in events if not event.token.special] == SEPARATED * 2


def test_a_stop_text_stays(scripted: Sandbox) -> None:
    answer = client(scripted).generate(PROMPT, stop_sequences=[" to"])
    assert answer.generated_text == "Count from one to"
    assert answer.details.finish_reason is FinishReason.StopSequence


@pytest.mark.parametrize("options", [{"truncate": 4096}, {"stop_sequences": list("abcde")}])
async def test_what_is_refused(served: Served, options: dict[str, Any]) -> None:
    made = client(served.sandbox)
    with pytest.raises(ValidationError):
        made.generate(PROMPT, **options)
    with pytest.raises(ValidationError):
        list(made.generate_stream(PROMPT, **options))
    with pytest.raises(ValidationError):
        [event async for event in async_client(served.sandbox).generate_stream(PROMPT, **options)]


@pytest.mark.parametrize(
    ("fault", "kind"), [(HTTPError(429), OverloadedError), (ErrorEvent(after=0, status=424), GenerationError)]
)
def test_failures_are_those_the_client_knows(
    scripted: Sandbox, fault: HTTPError | ErrorEvent, kind: type[Exception]
) -> None:
    scripted.add_rule(Reply(text="one two", fault=fault))
    with pytest.raises(kind):
        client(scripted).generate(PROMPT)


def test_a_stream_that_fails_in_the_middle(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(text="one two three", fault=ErrorEvent(after=2)))
    events, _ = read_until(GenerationError, client(scripted).generate_stream(PROMPT))
    assert [event.token.text for event in events] == ["one", " two"]
