"""A guarded LLM of LlamaIndex in its eight calls, chats and engines."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import SummaryIndex
from llama_index.core.base.llms.types import (
    ChatMessage,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.mock import MockLLM
from llama_index.core.schema import TextNode
from llama_index.core.tools import FunctionTool

from linkspan import errors
from linkspan.conversation import ToolCall
from linkspan.costs import cost_of
from linkspan.llama_index import (
    Cygnal,
    CygnalLLM,
    DataCrunch,
    Scaleway,
    register_data_prompts,
)
from linkspan.llama_index.wrapped_llm import WrappedLLM
from linkspan_sandbox import Reply
from tests.cygnal.conftest import KEY, PAGE, checks
from tests.cygnal.llama_index.conftest import BLOCKED_HARM, DOWN, HARM, UNREAD, both_ways, fetch

if TYPE_CHECKING:
    from linkspan.guarding import Judgement
    from linkspan_sandbox import Sandbox

CALLS = ["chat", "achat", "stream_chat", "astream_chat", "complete", "acomplete", "stream_complete", "astream_complete"]
every_call = pytest.mark.parametrize("call", CALLS)


def _written(call: str, *choices: dict[str, Any]) -> Reply:
    """An answer of the given choices, whole or as a stream."""
    kind = "delta" if "stream" in call else "message"
    written = [{"index": place, kind: choice, "finish_reason": "stop"} for place, choice in enumerate(choices)]
    if kind == "message":
        return Reply(body={"choices": written})
    return Reply(events=[*({"choices": [piece]} for piece in written), "[DONE]"])


async def ask(llm: CygnalLLM, call: str, question: str) -> tuple[str, list[str], Any]:
    """Return the answer's text, the pieces that came, and the last answer."""
    given: Any = question if "complete" in call else [ChatMessage(question)]
    answer: Any = getattr(llm, call)(given)
    if call.startswith("a"):
        answer = await answer
    if call.startswith("stream"):
        pieces = list(answer)
    elif "stream" in call:
        pieces = [piece async for piece in answer]
    else:
        pieces = [answer]
    last = pieces[-1]
    text = last.text if "complete" in call else last.message.content
    return text, [piece.delta or "" for piece in pieces], last


@every_call
async def test_questions_and_answers(cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox, call: str) -> None:
    judgements: list[Judgement] = []
    guarded = CygnalLLM(llm=llm, cygnal=cygnal, on_judgement=judgements.append)
    text, pieces, _ = await ask(guarded, call, "Say hello there.")
    assert text == "Say hello there."
    assert ("stream" not in call) or len(pieces) > 2
    assert [one.place for one in judgements] == ["questions", "answers"]
    text, pieces, answer = await ask(guarded, call, "The secret.")
    assert text == BLOCKED_HARM
    assert len(pieces) == 1
    assert answer.additional_kwargs["refusal"] == BLOCKED_HARM
    # What was withheld was paid for.
    assert cost_of(answer, provider="scaleway").total > 0
    sandbox.requests.clear()
    text, _, answer = await ask(guarded, call, HARM)
    assert text == BLOCKED_HARM
    assert len(sandbox.requests) == len(checks(sandbox)) == 1
    assert answer.additional_kwargs["cygnal"]["place"] == "questions"


@pytest.mark.parametrize("way", ["stream_complete", "astream_complete", "stream_chat", "astream_chat"])
async def test_chunks_that_are_not_cumulative_are_judged_whole(cygnal: Cygnal, way: str) -> None:
    class Pieces(CustomLLM):
        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata()

        def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
            raise NotImplementedError

        def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
            for piece in prompt.split("|"):
                yield CompletionResponse(text=piece, delta=piece)

    guarded = CygnalLLM(llm=Pieces(), cygnal=cygnal, questions=None)
    assert (await ask(guarded, way, "How do I |pick a lock|?"))[0] == BLOCKED_HARM
    assert "How do I moor?" in "".join((await ask(guarded, way, "How do I |moor|?"))[1])


@every_call
@pytest.mark.parametrize("text", [None, "No."])
async def test_a_refusal_is_judged_once(
    cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox, call: str, text: str | None
) -> None:
    guarded = CygnalLLM(llm=llm, cygnal=cygnal, questions=None)
    for refusal, judged in (("First, pick a lock.", True), ("Ask another.", False)):
        sandbox.reset()
        sandbox.add_rule(_written(call, {"role": "assistant", "content": text, "refusal": refusal}))
        assert ((await ask(guarded, call, "When?"))[0] == BLOCKED_HARM) is judged
        assert len(checks(sandbox)) == 1


@pytest.mark.parametrize("end", [[("assistant", "Sure,")], [("assistant", ""), ("system", "Go on.")]])
def test_a_begun_answer_hides_no_question(cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox, end: Any) -> None:
    turns = [ChatMessage(HARM), *(ChatMessage(text, role=role) for role, text in end)]
    assert CygnalLLM(llm=llm, cygnal=cygnal).chat(turns).message.content == BLOCKED_HARM
    assert len(sandbox.requests) == 1


def test_a_blank_end_hides_nothing(cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox) -> None:
    guarded = CygnalLLM(llm=llm, cygnal=cygnal)
    assert guarded.chat([ChatMessage(HARM), ChatMessage(" ")]).message.content == BLOCKED_HARM
    assert len(sandbox.requests) == 1


@every_call
async def test_other_actions(cygnal: Cygnal, llm: Scaleway, call: str) -> None:
    warned = CygnalLLM(llm=llm, cygnal=cygnal, answers="warn", questions="warn")
    text, _, _ = await ask(warned, call, "The secret.")
    assert text == "First, pick a lock.\n\n[Warning of Gray Swan Cygnal: violation 0.93 (harm).]"
    observed = CygnalLLM(llm=llm, cygnal=cygnal, answers="observe", questions=None)
    assert (await ask(observed, call, "The secret."))[0] == "First, pick a lock."
    replaced = CygnalLLM(llm=llm, cygnal=cygnal, answers=None, questions="replace")
    # The stand-in repeats the question.
    assert (await ask(replaced, call, HARM))[0] == BLOCKED_HARM
    with pytest.raises(errors.ContentBlockedError):
        await ask(CygnalLLM(llm=llm, cygnal=cygnal, raise_on_block=True), call, "The secret.")


@every_call
async def test_every_answer_of_several_is_judged(cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox, call: str) -> None:
    sandbox.add_rule(_written(call, {"content": "At nine."}, {"content": "First, pick a lock."}), when="two answers")
    text, _, answer = await ask(CygnalLLM(llm=llm, cygnal=cygnal), call, "Say two answers.")
    assert text == BLOCKED_HARM
    assert "pick a lock" not in answer.model_dump_json()
    assert [check["messages"][-1]["content"] for check in checks(sandbox)[1:]] == ["At nine.", "First, pick a lock."]
    text, _, answer = await ask(CygnalLLM(llm=llm, cygnal=cygnal, answers="warn"), call, "Say two answers.")
    assert text == "At nine.\n\n[Warning of Gray Swan Cygnal: violation 0.93 (harm).]"
    assert answer.additional_kwargs["alternatives"] == ["First, pick a lock."]


@pytest.mark.parametrize("call", ["complete", "acomplete"])
async def test_every_sequence_of_best_of_is_judged(cygnal: Cygnal, sandbox: Sandbox, call: str) -> None:
    sandbox.add_rule("Hi.", times=1)
    sandbox.add_rule("First, pick a lock.")
    with DataCrunch(base_url=sandbox.tgi_url, api_key=KEY, best_of=2, temperature=0.7) as tgi:
        text, _, answer = await ask(CygnalLLM(llm=tgi, cygnal=cygnal), call, "Hello.")
    assert text == BLOCKED_HARM
    assert "pick a lock" not in answer.model_dump_json()


@every_call
async def test_an_answer_without_words_is_not_judged(
    cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox, call: str
) -> None:
    sandbox.add_rule(Reply(text="", reasoning="Hm."), when="lock")
    guarded = CygnalLLM(llm=llm, cygnal=cygnal, questions=None)
    text, _, answer = await ask(guarded, call, HARM)
    assert not text
    assert "refusal" not in answer.additional_kwargs
    assert not checks(sandbox)


@pytest.mark.parametrize("call", ["stream_chat", "astream_chat", "stream_complete", "astream_complete"])
async def test_a_live_stream_ends_with_an_error(cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox, call: str) -> None:
    live = CygnalLLM(llm=llm, cygnal=cygnal, hold_streams=False)
    assert len((await ask(live, call, "Say hello there."))[1]) > 2
    for action in ("block", "replace"):
        live = CygnalLLM(llm=llm, cygnal=cygnal, hold_streams=False, answers=action)
        with pytest.raises(errors.ContentBlockedError, match="harm") as caught:
            await ask(live, call, "The secret.")
        assert (caught.value.code, caught.value.body["violation"]) == ("violation", 0.93)
    sandbox.add_rule(DOWN, route="monitor")
    live = CygnalLLM(llm=llm, cygnal=cygnal, hold_streams=False, questions=None, on_failure="closed")
    with pytest.raises(errors.ContentBlockedError, match="could not check it") as caught:
        await ask(live, call, "Say hello there.")
    assert isinstance(caught.value.__cause__, errors.ServerError)


@pytest.mark.parametrize("call", ["stream_chat", "astream_chat"])
async def test_a_warning_after_the_models_own_refusal(
    cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox, call: str
) -> None:
    sandbox.add_rule(_written(call, {"content": "I will not pick a lock.", "refusal": "I will not."}), when="Please")
    text, _, answer = await ask(CygnalLLM(llm=llm, cygnal=cygnal, answers="warn"), call, "Please.")
    assert text.endswith("[Warning of Gray Swan Cygnal: violation 0.93 (harm).]")
    assert answer.additional_kwargs["refusal"] == "I will not."


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("parallel", [True, False])
async def test_streams_keep_to_one_call(
    cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox, guarded: bool, parallel: bool
) -> None:
    calls = [ToolCall(None, "fetch", json.dumps({"url": url})) for url in "ab"]
    sandbox.add_rule(Reply(tool_calls=calls), when="both")
    model = CygnalLLM(llm=llm, cygnal=cygnal) if guarded else llm
    given: Any = {"user_msg": "Read both.", "allow_parallel_tool_calls": parallel}
    tools = [FunctionTool.from_defaults(fetch)]
    *_, last = model.stream_chat_with_tools(tools, **given)
    *_, alast = [chunk async for chunk in await model.astream_chat_with_tools(tools, **given)]
    for answer in (last, alast):
        assert len(model.get_tool_calls_from_response(answer)) == 1 + parallel


@every_call
async def test_an_llm_whose_guard_is_down(cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox, call: str) -> None:
    sandbox.add_rule(DOWN, route="monitor")
    with pytest.raises(errors.ServerError):
        await ask(CygnalLLM(llm=llm, cygnal=cygnal), call, "hi")
    closed, _, _ = await ask(CygnalLLM(llm=llm, cygnal=cygnal, on_failure="closed"), call, "hi")
    assert closed == "Withheld, because Gray Swan Cygnal could not check it."
    assert (await ask(CygnalLLM(llm=llm, cygnal=cygnal, on_failure="open"), call, "hi"))[0] == "hi"


@both_ways
async def test_a_chat_engine(cygnal: Cygnal, llm: Scaleway, way: str) -> None:
    index = SummaryIndex([TextNode(text="It is 60 metres long.")])
    engine = index.as_chat_engine(llm=CygnalLLM(llm=llm, cygnal=cygnal), chat_mode="context")

    async def said(question: str) -> str:
        if way == "sync":
            return "".join(engine.stream_chat(question).response_gen)
        answer = await engine.astream_chat(question)
        return "".join([piece async for piece in answer.async_response_gen()])

    assert await said("How long is it?") == UNREAD
    assert await said(HARM) == BLOCKED_HARM


def test_only_what_is_new_is_judged(cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox) -> None:
    past = [ChatMessage("x"), ChatMessage("y", role=MessageRole.ASSISTANT)]
    CygnalLLM(llm=llm, cygnal=cygnal, answers=None).chat([ChatMessage("s", role="system"), *past, ChatMessage("z")])
    (check,) = checks(sandbox)
    assert [turn["content"] for turn in check["messages"]] == ["s", "x", "y", "z"]


def test_retrieved_text_stays_data_within_a_guarded_llm(cygnal: Cygnal, llm: Scaleway, sandbox: Sandbox) -> None:
    undo = register_data_prompts()
    guarded = CygnalLLM(llm=llm.model_copy(update={"data_role": "fenced"}), cygnal=cygnal)
    answer = SummaryIndex([TextNode(text=PAGE)]).as_query_engine(llm=guarded).query("How long?")
    undo()
    assert "Blocked by Gray Swan Cygnal" in str(answer)
    assert "BOO" not in str(answer)
    assert [turn["role"] for turn in checks(sandbox)[1]["messages"]] == ["system", "user", "tool"]


def test_stored_settings(cygnal: Cygnal, llm: Scaleway) -> None:
    guarded = CygnalLLM(llm=llm, cygnal=cygnal)
    assert guarded.metadata == llm.metadata
    stored = str(guarded.to_dict())
    assert KEY not in stored
    assert guarded.to_dict()["cygnal"]["threshold"] == 0.5
    with pytest.raises(errors.ConfigurationError, match="has no tools"):
        CygnalLLM(llm=MockLLM(), cygnal=cygnal).chat_with_tools([])


def test_the_signature_shows_the_fields_before_the_first_object() -> None:
    # pydantic builds a class with its first object; a new one has none.
    assert {*CygnalLLM.model_fields} <= {*inspect.signature(type("Mine", (CygnalLLM,), {})).parameters}


def test_core_has_the_private_hooks_that_are_handed_to_the_llm() -> None:
    linkspans_own = {"_object_request", "_refuse_setting", "_with_tools"}
    hooks = {name for name in vars(WrappedLLM) if name.startswith("_") and inspect.isfunction(vars(WrappedLLM)[name])}
    hooks = {name for name in hooks - linkspans_own if not name.startswith("__")} | {"_prepare_chat_with_tools_compat"}
    assert len(hooks) > 5
    assert [name for name in hooks if not callable(getattr(FunctionCallingLLM, name, None))] == []
