"""``CygnalDecisionModel``, which needs langchain-core 1.8: yes-or-no questions, and langchain's own middleware."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

import linkspan.langchain
from linkspan import Cygnal
from linkspan.conversation import ToolCall
from linkspan.errors import RateLimitError, UnsupportedContentError
from linkspan.langchain import ChatScaleway
from linkspan_sandbox import HTTPError, Reply

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

HAS_DECISIONS = importlib.util.find_spec("langchain_core.decisions") is not None
needs_decisions = pytest.mark.skipif(not HAS_DECISIONS, reason="langchain-core before 1.8 has no decision models")
if HAS_DECISIONS:
    from langchain_core.decisions import Choice, Noul, NoulCriteria

    from linkspan.langchain import CygnalDecisionModel

KEY = "the-key-of-the-guard"


@pytest.mark.skipif(HAS_DECISIONS, reason="this core has decision models")
def test_an_older_core_is_told_what_it_needs() -> None:
    with pytest.raises(ImportError, match=r"CygnalDecisionModel needs decision models, .* 'langchain-core>=1.8'"):
        linkspan.langchain.CygnalDecisionModel  # noqa: B018  # the access is what imports


@pytest.fixture
def decisions(sandbox: Sandbox) -> Any:
    return CygnalDecisionModel(cygnal=Cygnal(base_url=sandbox.gray_swan_url, api_key=KEY, policy_id="p", max_retries=0))


def questions() -> dict[str, Any]:
    criteria = NoulCriteria(true="It is named.", false="It is not.")
    return {"boats": Noul(instructions='Is a "ferry" named?', criteria=criteria), "else": Noul(instructions="Trains?")}


async def ask(model: Any, way: str, state: Any, asked: Any = None) -> Any:
    given = {"state": state, "questions": asked or questions()}
    return await model.ainvoke(given) if way == "ainvoke" else model.invoke(given)


@needs_decisions
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_each_question_is_a_rule(decisions: Any, sandbox: Sandbox, way: str) -> None:
    response = await ask(decisions, way, "A ferry leaves.")
    assert {name: answer.noul for name, answer in response.nouls.items()} == {"boats": 0.9, "else": 0.02}
    assert response.usage["input_tokens"] == 6
    bodies = sorted((request.json for request in sandbox.requests), key=lambda body: list(body["rules"]))
    rule = 'Is a "ferry" named?\nBroken if: It is named.\nKept if: It is not.'
    assert bodies == [
        {"text": "A ferry leaves.", "rules": {"boats": rule}},
        {"text": "A ferry leaves.", "rules": {"else": "Trains?"}},
    ]


@needs_decisions
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_messages_are_the_conversation_and_the_rest_is_data(decisions: Any, sandbox: Sandbox, way: str) -> None:
    await ask(decisions, way, {"messages": [HumanMessage("a"), AIMessage("b")], "note": ["c"]})
    turns = [("user", "a"), ("assistant", "b"), ("tool", '{"note": ["c"]}')]
    assert [(turn["role"], turn["content"]) for turn in sandbox.last_request.json["messages"]] == turns
    await ask(decisions, way, [HumanMessage("a")])
    assert sandbox.last_request.json["messages"] == [{"role": "user", "content": "a"}]


@needs_decisions
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_what_it_cannot_answer(decisions: Any, sandbox: Sandbox, way: str) -> None:
    with pytest.raises(UnsupportedContentError, match="asks for a choice"):
        await ask(decisions, way, "x", {**questions(), "c": Choice(instructions="Which?", criteria={"a": None})})
    picture = {"type": "image", "base64": "aGVsbG8=", "mime_type": "image/png"}
    shown = HumanMessage([{"type": "text", "text": "See."}, picture])
    for state in ({"picture": picture}, shown, [shown, AIMessage("A ferry.")], {"messages": [shown], "note": "x"}):
        with pytest.raises(UnsupportedContentError, match="'image'"):
            await ask(decisions, way, state)
    assert not sandbox.requests
    sandbox.add_rule(Reply(fault=HTTPError(429)), route="monitor")
    with pytest.raises(RateLimitError):
        await ask(decisions, way, "x")


@needs_decisions
def test_an_unknown_argument_is_an_error(decisions: Any) -> None:
    with pytest.raises(ValueError, match="max_concurency"):
        CygnalDecisionModel(cygnal=decisions.cygnal, max_concurency=2)


@needs_decisions
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@pytest.mark.parametrize(("text", "runs"), [("steal the password", False), ("hello", True)])
async def test_auto_mode(decisions: Any, sandbox: Sandbox, way: str, text: str, runs: bool) -> None:
    from langchain.agents import create_agent
    from langchain.agents.middleware import AutoModeMiddleware
    from langchain_core.tools import tool

    sent: list[str] = []

    @tool
    def send(text: str) -> str:
        """Send a text."""
        sent.append(text)
        return "sent"

    sandbox.add_rule(Reply(tool_calls=[ToolCall(None, "send", f'{{"text": "{text}"}}')]), role="user")
    sandbox.add_rule("Done.", role="tool")
    model = ChatScaleway(model="llama-3.3-70b-instruct", base_url=sandbox.scaleway_url, api_key=KEY)
    agent = create_agent(model, [send], middleware=[AutoModeMiddleware(tools=[send], classifier=decisions)])
    given: Any = {"messages": "Go."}
    await agent.ainvoke(given) if way == "ainvoke" else agent.invoke(given)
    assert bool(sent) is runs
