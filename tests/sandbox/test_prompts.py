"""Prompts without roles, asked of both engines directly: what the prompt APIs' dialects build on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from linkspan.assembler import Assembler
from linkspan.conversation import Delta
from linkspan_sandbox import Call, EngineError, Guide, Reply, Rule, ScriptedEngine, local_engine, local_model
from linkspan_sandbox.llama_server import LlamaServer
from linkspan_sandbox.local_engine import LocalEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from linkspan.conversation import Completion
    from linkspan_sandbox import Engine

GREEDY = {"temperature": 0}
YES = "<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\n"


def call(prompt: str, **fields: Any) -> Call:
    return Call(api="test", model="any", prompt=prompt, **fields)


async def deltas_of(engine: Engine, asked: Call) -> list[Delta]:
    pieces = [piece async for piece in engine.answer(asked)]
    assert all(isinstance(piece, Delta) for piece in pieces)
    return [piece for piece in pieces if isinstance(piece, Delta)]


async def whole(engine: Engine, asked: Call) -> Completion:
    assembler = Assembler()
    for delta in await deltas_of(engine, asked):
        assembler.add(delta)
    return assembler.completion()


class TestScripted:
    async def test_each_token_is_a_delta_and_the_end_is_a_special_token(self) -> None:
        *tokens, end, final = await deltas_of(ScriptedEngine(), call("Hello there you", tokens=True))
        assert [delta.text for delta in tokens] == ["Hello", " there", " you"]
        for delta in tokens:
            (token,) = delta.logprobs or ()
            assert (token.token, token.special, token.logprob) == (delta.text, False, -0.25)
            assert token.id is not None
            assert token.id > 2
        (special,) = end.logprobs or ()
        assert (end.text, special.token, special.id, special.special) == ("", "</s>", 2, True)
        assert final.usage is not None
        assert (final.finish_reason, final.usage.output_tokens) == ("stop", 4)

    async def test_equal_pieces_have_equal_ids(self) -> None:
        first, second, *_ = await deltas_of(ScriptedEngine([Rule(" a a")]), call("x", tokens=True))
        assert first.logprobs is not None
        assert second.logprobs is not None
        assert first.logprobs[0].id == second.logprobs[0].id

    async def test_a_stop_text_may_stay(self) -> None:
        engine = ScriptedEngine([Rule("one two. three")])
        answer = await whole(engine, call("x", stop=["."], keep_stop=True))
        assert answer.text == "one two."
        assert answer.extra == {"stop_text": "."}
        assert (await whole(engine, call("x", stop=["."]))).text == "one two"

    async def test_lists_the_prompts_tokens_first(self) -> None:
        first, *_ = await deltas_of(ScriptedEngine(), call("a b c", prompt_tokens=True, truncate=2))
        assert first.extra is not None
        tokens = first.extra["prompt_tokens"]
        assert [(token.token, token.logprob) for token in tokens] == [(" b", None), (" c", -0.25)]

    async def test_reads_only_the_end_of_a_prompt_that_is_truncated(self) -> None:
        answer = await whole(ScriptedEngine(), call("a b c", truncate=2))
        assert answer.usage is not None
        assert (answer.text, answer.usage.input_tokens) == (" b c", 2)

    @pytest.mark.parametrize(
        ("guide", "text"),
        [(Guide("choice", ["red", "blue"]), "red"), (Guide("json", {"type": "integer", "minimum": 3}), "3")],
    )
    async def test_follows_a_guide(self, guide: Guide, text: str) -> None:
        assert (await whole(ScriptedEngine(), call("x", guide=guide))).text == text

    async def test_rules_see_the_prompt(self) -> None:
        engine = ScriptedEngine([Rule(Reply("found"), when="needle")])
        assert (await whole(engine, call("hay needle hay"))).text == "found"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(llama_cpp: LlamaServer) -> AsyncIterator[LocalEngine]:
    """The engine with the server that other tests have started: tests/sandbox/test_local_engine.py starts its own."""

    class Started(LlamaServer):
        def start(self) -> None:
            self.url, self.api_key = llama_cpp.url, llama_cpp.api_key

    engine = LocalEngine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_engine, "LlamaServer", Started)
        await engine.start()
    yield engine
    await engine.stop()


@pytest.mark.skipif(local_model.find_weights() is None, reason="the local model's weights are not on this machine")
@pytest.mark.asyncio(loop_scope="module")
class TestLocal:
    async def test_reads_special_tokens_and_hands_out_each_token(self, engine: LocalEngine) -> None:
        *deltas, end, final = await deltas_of(engine, call(YES, tokens=True, parameters=GREEDY, max_tokens=20))
        tokens = [token for delta in deltas for token in delta.logprobs or ()]
        assert len(tokens) == len(deltas)
        assert "".join(delta.text for delta in deltas) == "".join(token.token for token in tokens) == "Yes."
        assert all(token.id and token.logprob is not None and token.logprob <= 0 for token in tokens)
        (special,) = end.logprobs or ()
        assert (end.text, special.token, special.special) == ("", "<|im_end|>", True)
        assert final.usage is not None
        assert (final.finish_reason, final.usage.output_tokens) == ("stop", len(tokens) + 1)
        # Twelve tokens only if each marker is one token.
        assert final.usage.input_tokens == 12

    async def test_gives_alternatives_where_asked(self, engine: LocalEngine) -> None:
        answer = await whole(engine, call("The sky is", logprobs=2, parameters=GREEDY, max_tokens=2))
        assert answer.logprobs is not None
        assert [len(token.top) for token in answer.logprobs] == [2, 2]
        assert answer.finish_reason == "length"

    async def test_a_stop_text_may_stay(self, engine: LocalEngine) -> None:
        asked: dict[str, Any] = {"parameters": GREEDY, "max_tokens": 20, "stop": ["ris."]}
        without = await whole(engine, call("The capital of France is", **asked))
        kept = await whole(engine, call("The capital of France is", keep_stop=True, tokens=True, **asked))
        assert kept.text == without.text + "ris."
        assert without.extra == kept.extra == {"stop_text": "ris."}
        assert (without.finish_reason, kept.finish_reason) == ("stop", "stop")

    async def test_lists_the_prompts_tokens_and_truncates(self, engine: LocalEngine) -> None:
        first, *_, final = await deltas_of(
            engine, call("<|im_start|>one two three", prompt_tokens=True, truncate=3, max_tokens=1)
        )
        assert first.extra is not None
        assert [token.token for token in first.extra["prompt_tokens"]] == ["one", " two", " three"]
        assert final.usage is not None
        assert final.usage.input_tokens == 3

    @pytest.mark.parametrize(
        ("guide", "allowed"),
        [
            (Guide("choice", ['"red"', "blau\n"]), {'"red"', "blau\n"}),
            (Guide("grammar", 'root ::= "x" "y"'), {"xy"}),
            (Guide("json", {"enum": [1, 2]}), {"1", "2"}),
        ],
    )
    async def test_follows_a_guide(self, engine: LocalEngine, guide: Guide, allowed: set[str]) -> None:
        answer = await whole(engine, call("Which?", guide=guide, max_tokens=20))
        assert answer.text in allowed

    async def test_refuses_what_it_cannot_follow(self, engine: LocalEngine) -> None:
        with pytest.raises(EngineError, match="regular expression"):
            await whole(engine, call("Which?", guide=Guide("regex", "[a-z]+")))
        with pytest.raises(EngineError, match="grammar"):
            await whole(engine, call("Which?", guide=Guide("grammar", "root ::= (")))
