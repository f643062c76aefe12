"""The program under test: it answers passengers' questions, with a tool for the timetable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool

from linkspan.errors import InterruptedStreamError, RateLimitError
from linkspan.langchain import ChatScaleway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from langchain_core.messages import BaseMessage

MODEL = "llama-3.3-70b-instruct"
BUSY = "All our agents are busy. Please ask again in a minute."


@tool
def next_departure(port: str) -> str:
    """When the next ferry to a port leaves."""
    return {"Ostra": "09:00", "Vinnholm": "10:30"}.get(port, "not today")


def answer(question: str) -> str:
    """Answer a question; look up the timetable if the model calls the tool."""
    model = ChatScaleway(model=MODEL, max_retries=0).bind_tools([next_departure])
    messages: list[BaseMessage] = [HumanMessage(question)]
    try:
        reply = model.invoke(messages)
        while reply.tool_calls:
            results = [
                ToolMessage(next_departure.invoke(call["args"]), tool_call_id=call["id"]) for call in reply.tool_calls
            ]
            messages += [reply, *results]
            reply = model.invoke(messages)
    except RateLimitError:
        return BUSY
    return reply.text


async def read_aloud(question: str) -> AsyncIterator[str]:
    """Answer piece by piece; say so if the connection breaks."""
    try:
        async for piece in ChatScaleway(model=MODEL).astream(question):
            if piece.text:
                yield piece.text
    except InterruptedStreamError:
        yield " ... (the line broke)"
