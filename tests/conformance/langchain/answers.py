"""What the scripted engine answers LangChain's suite: the calls that a model which knows tools would make.

``scripts/record_cassettes.py`` starts the sandbox with these rules for the tests that the small local model cannot
answer: tools, images, sounds, reasoning, names of other models.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from linkspan.conversation import ToolCall, Usage
from linkspan_sandbox import Reply, Rule

if TYPE_CHECKING:
    from linkspan_sandbox.engine import Call

__all__ = ["RULES"]

_JOKE = {"setup": "Why did the cat sit on the computer?", "punchline": "To keep an eye on the mouse."}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "magic_function": {"input": 3},
    "magic_function_no_args": {},
    "greeting_generator": {"answer_style": "Pirate"},
    "get_weather": {"location": "San Francisco, CA"},
    "my_adder_tool": {"a": 3, "b": 4},
    "color_picker": {"fav_color": "purple"},
    "random_image": {},
}
_REASONING = "The user wants the sum. One and two make three."


def _arguments(name: str, question: str) -> dict[str, Any]:
    if name == "unicode_customer":
        (customer,) = re.findall(r"named '(.+?)'", question)
        return {"customer_name": customer, "description": "A company"}
    return _ARGUMENTS.get(name, _JOKE)


def _wanted_tool(call: Call) -> str | None:
    """The tool that must be called, or that the question is about."""
    if call.forced_tool is not None:
        return call.forced_tool
    offered = [tool["function"]["name"] for tool in call.tools]
    asks = call.last_role == "user" and call.tool_choice != "none"
    return offered[0] if asks and offered and "weather" in call.last_user_text else None


def _answer(call: Call) -> Reply:
    question = call.last_user_text
    tool = _wanted_tool(call)
    if tool is not None:
        return Reply(tool_calls=[ToolCall(None, tool, json.dumps(_arguments(tool, question), ensure_ascii=False))])
    if "joke" in question.lower():
        return Reply(json.dumps(_JOKE))
    if "think" in question:
        return Reply("3", reasoning=_REASONING, usage=Usage(12, 13, 25, reasoning_tokens=10))
    if "cached" in question:
        return Reply("The same as before.", usage=Usage(160, 4, 164, cached_tokens=128))
    return Reply("Hello! How may I help you today?")


RULES = (Rule(_answer),)
