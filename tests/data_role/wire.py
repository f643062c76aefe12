"""Models in both frameworks whose requests end in memory, and what a request says in which role."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

FENCED = re.compile(
    r"Untrusted data between the two marks (?P<mark>DATA-[0-9a-f]{24})\. [^\n]*\n"
    r"<(?P=mark)>\n(?P<text>.*?)\n</(?P=mark)>",
    re.DOTALL,
)
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "fetch_page", "arguments": '{"url": "u"}'}}


@dataclass
class Wire:
    """Answers every request, whole or streamed, and keeps the bodies."""

    bodies: list[dict[str, Any]] = field(default_factory=list)

    def respond(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        message: dict[str, Any] = {"role": "assistant", "content": "It is 60 metres long."}
        finish = "stop"
        if body.get("tools") and body["messages"][-1]["role"] == "user":
            message, finish = {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}, "tool_calls"
        whole = {"id": f"answer-{len(self.bodies)}", "object": "chat.completion", "created": 1, "model": "m"}
        if not body.get("stream"):
            return httpx.Response(
                200, json={**whole, "choices": [{"index": 0, "finish_reason": finish, "message": message}]}
            )
        delta = {**message, **({"tool_calls": [{"index": 0, **TOOL_CALL}]} if finish == "tool_calls" else {})}
        events = [
            {"index": 0, "delta": delta, "finish_reason": None},
            {"index": 0, "delta": {}, "finish_reason": finish},
        ]
        lines = [f"data: {json.dumps({**whole, 'choices': [event]})}\n\n" for event in events]
        return httpx.Response(
            200, headers={"content-type": "text/event-stream"}, content="".join([*lines, "data: [DONE]\n\n"]).encode()
        )

    def make(self, cls: Callable[..., Any], **settings: Any) -> Any:
        """A model of this class whose requests come here."""
        transport = httpx.MockTransport(self.respond)
        return cls(
            model="m",
            api_key="key",
            base_url="http://127.0.0.1:9",
            http_client=httpx.Client(transport=transport),
            http_async_client=httpx.AsyncClient(transport=transport),
            max_retries=0,
            **settings,
        )

    @property
    def turns(self) -> list[tuple[str, str | None]]:
        """Role and content of the last request's messages."""
        return [(message["role"], message["content"]) for message in self.bodies[-1]["messages"]]


def parted(body: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Part a request into its messages without the untrusted text, and the untrusted texts."""
    rest, texts = [], []
    for message in body["messages"]:
        content = message["content"] or ""
        if message["role"] == "data":
            texts.append(content)
            rest.append({**message, "content": "(untrusted)"})
            continue
        fences = list(FENCED.finditer(content))
        texts += [fence["text"] for fence in fences]
        assert all(content.count(fence["mark"]) == 3 * len(fences) for fence in fences)
        rest.append({**message, "content": FENCED.sub("(untrusted)", content)})
    return rest, texts
