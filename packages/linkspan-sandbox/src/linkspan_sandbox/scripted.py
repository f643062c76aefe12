"""The scripted engine, deterministic and instant: it answers by a test's rules, else it echoes.

Without a matching rule the answer is the first of these that applies:

- if the request forces a tool: a call of it (of the first one, if any tool may be called) with the smallest arguments
  that its schema allows;
- if it requires JSON: the smallest value of the schema, ``{}`` without one;
- if it requires one of several texts (guided choice): the first. Regular expressions and grammars are ignored;
- the last user message's text, or the prompt, unchanged.

A text is split into pieces: each word with the white space before it. A piece counts as one token. Prompt tokens are
the pieces of all messages' texts. The head of a tool call counts as one token, and so does each word of its arguments.
``max_tokens`` and ``stop`` cut a reply as they would a model's answer.

For a call with ``tokens``, a piece's id depends only on its text. A reply that is neither cut nor stopped ends with the
special token ``</s>`` (id 2), which counts.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import threading
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta, TokenLogprob, ToolCall, ToolCallDelta, Usage
from linkspan_sandbox.engine import Call, ConnectionCut, EngineError, HTTPAnswer, Piece, RawEvent, text_of
from linkspan_sandbox.rules import TEXT_ROUTES, Cut, EndEarly, ErrorEvent, HTTPError, Reply, Stall
from linkspan_sandbox.schema_example import example_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from linkspan_sandbox.rules import Fault, Rule

__all__ = ["ScriptedEngine"]

_log = logging.getLogger(__name__)
_WORDS = re.compile(r"\s*\S+|\s+\Z")
#: Log probability of every scripted token: an arbitrary constant that tests can compare with.
LOGPROB = -0.25
#: Upper bound of token ids, like a vocabulary's size; the first three are special tokens.
_VOCABULARY = 32_000
_END = TokenLogprob("</s>", LOGPROB, bytes=list(b"</s>"), id=2, special=True)


class ScriptedEngine:
    """Answers by the first :class:`Rule` that matches, in the order they were added."""

    name = "scripted"
    served_model: str | None = None
    context_window: int | None = None

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules: list[Rule] = list(rules)
        self._lock = threading.Lock()
        self._calls_made = 0

    async def start(self) -> None:
        """Nothing to prepare."""

    async def stop(self) -> None:
        """Nothing to release."""

    def add(self, rule: Rule) -> None:
        """Append a rule; thread-safe."""
        with self._lock:
            self.rules.append(rule)

    def clear(self) -> None:
        """Remove all rules and restart tool call ids from 1; thread-safe."""
        with self._lock:
            self.rules.clear()
            self._calls_made = 0

    def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        """Yield the reply of the first rule that matches, else the echo."""
        if call.truncate is not None and call.prompt is not None:
            pieces = _split(call.prompt)
            call = replace(call, prompt="".join(pieces[max(0, len(pieces) - call.truncate) :]))
        return self._play(call, self._reply_to(call))

    async def intercept(self, call: Call) -> HTTPAnswer | str | None:
        """Return the reply of the first rule that matches the call's route, or ``None``."""
        reply = self._rules_reply_to(call)
        if reply is None:
            return None
        text = "".join(reply.text) if call.route in TEXT_ROUTES else ""
        if (
            (reply.text and not text)
            or reply.reasoning
            or reply.tool_calls
            or reply.events
            or isinstance(reply.fault, EndEarly)
        ):
            raise EngineError(f"a rule for {call.route} can have a body, a delay or an error, but no text")
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if isinstance(reply.fault, HTTPError):
            return _http_answer(reply.fault)
        await _fail(reply.fault)
        return (text or None) if reply.body is None else HTTPAnswer(200, reply.body, reply.headers)

    def _reply_to(self, call: Call) -> Reply:
        reply = self._rules_reply_to(call)
        if reply is None:
            try:
                return _echo(call)
            except ValueError as error:  # of a schema in the request
                return Reply(fault=ErrorEvent(after=0, message=str(error), status=400))
        return reply

    def _rules_reply_to(self, call: Call) -> Reply | None:
        try:
            with self._lock:
                rule = next((rule for rule in self.rules if rule.matches(call)), None)
                if rule is not None:
                    rule.used += 1
            if rule is None:
                return None
            reply = rule.reply(call) if callable(rule.reply) else rule.reply
        except Exception as error:  # noqa: BLE001  # a test's own function may raise anything
            _log.exception("a rule's function failed")
            wrong = f"a rule's function raised {type(error).__name__}: {error}"
            return Reply(fault=ErrorEvent(after=0, message=wrong))
        if isinstance(reply, str):
            return Reply(text=reply)
        if not isinstance(reply, Reply):
            wrong = f"a rule's function must return a text or a Reply, not {type(reply).__name__}"
            return Reply(fault=ErrorEvent(after=0, message=wrong))
        return reply

    async def _play(self, call: Call, reply: Reply) -> AsyncGenerator[Piece, None]:
        if reply.delay:
            await asyncio.sleep(reply.delay)
        fault = reply.fault
        if isinstance(fault, HTTPError):
            yield _http_answer(fault)
            return
        if isinstance(fault, Cut) and fault.after is None:
            raise ConnectionCut
        pieces = self._pieces(call, reply)
        if fault is not None:
            pieces = itertools.islice(pieces, fault.after)
        for number, piece in enumerate(pieces):
            if number and reply.pause:
                await asyncio.sleep(reply.pause)
            yield piece
        await _fail(fault)

    def _pieces(self, call: Call, reply: Reply) -> Iterator[Piece]:
        if reply.events is not None:
            yield from (RawEvent(event if isinstance(event, str) else json.dumps(event)) for event in reply.events)
            return
        if reply.body is not None:
            yield HTTPAnswer(200, reply.body, reply.headers)
            return
        prompt_tokens = _prompt_tokens(call)
        _check_context(call, prompt_tokens)
        if call.prompt_tokens and call.prompt is not None:
            yield Delta(extra={"prompt_tokens": _prompt_pieces(call.prompt)})
        yield from self._deltas(call, reply, prompt_tokens)

    def _deltas(self, call: Call, reply: Reply, prompt_tokens: int) -> Iterator[Delta]:
        text, stopped_by = _until_stop(reply.text, call.stop, keep=call.keep_stop)
        steps = [Delta(reasoning=piece) for piece in _split(reply.reasoning)]
        steps += [Delta(text=piece, logprobs=_logprobs(call, piece)) for piece in text]
        if call.tokens and not stopped_by:
            steps.append(Delta(logprobs=(_END,)))
        cut = call.max_tokens is not None and len(steps) > call.max_tokens
        if cut:
            steps = steps[: call.max_tokens]
        tool_calls = () if cut or stopped_by else reply.tool_calls
        for index, tool_call in enumerate(tool_calls):
            steps += self._tool_call(index, tool_call)
        for made, step in enumerate(steps, start=1):
            step.model = reply.model
            step.usage = reply.usage or Usage(prompt_tokens, made, prompt_tokens + made)
            yield step
        yield Delta(
            finish_reason=reply.finish_reason or ("length" if cut else "tool_calls" if tool_calls else "stop"),
            usage=reply.usage or Usage(prompt_tokens, len(steps), prompt_tokens + len(steps)),
            model=reply.model,
            extra={"stop_text": stopped_by} if stopped_by and not cut else None,
        )

    def _tool_call(self, index: int, tool_call: ToolCall) -> list[Delta]:
        call_id = tool_call.id
        if call_id is None:
            with self._lock:
                self._calls_made += 1
                call_id = f"chatcmpl-tool-{self._calls_made:032x}"
        fragments = [ToolCallDelta(index, arguments=fragment) for fragment in _split(tool_call.arguments)]
        return [
            Delta(tool_calls=(fragment,)) for fragment in (ToolCallDelta(index, call_id, tool_call.name), *fragments)
        ]


def _http_answer(fault: HTTPError) -> HTTPAnswer:
    return HTTPAnswer(fault.status, fault.body, fault.headers, fault.message)


async def _fail(fault: Fault | None) -> None:
    if isinstance(fault, ErrorEvent):
        raise EngineError(fault.message, status=fault.status)
    if isinstance(fault, Cut):
        raise ConnectionCut
    if isinstance(fault, Stall):
        # Ends when the client leaves or the server stops, because either cancels the task.
        await asyncio.Event().wait()


def _echo(call: Call) -> Reply:
    name = call.forced_tool
    if name is not None:
        schema: Any = next(
            (tool["function"].get("parameters") for tool in call.tools if tool["function"]["name"] == name), {}
        )
        return Reply(tool_calls=[ToolCall(None, name, json.dumps(example_of(schema) or {}))])
    if call.guide is not None and call.guide.kind in ("json", "choice"):
        example = json.dumps(example_of(call.guide.value)) if call.guide.kind == "json" else str(call.guide.value[0])
        return Reply(text=example)
    wanted = (call.response_format or {}).get("type")
    if wanted == "json_schema":
        schema = (call.response_format or {})["json_schema"].get("schema")
        return Reply(text=json.dumps(example_of(schema)))
    return Reply(text="{}" if wanted == "json_object" else call.last_user_text)


def _split(text: str | Sequence[str]) -> Sequence[str]:
    return _WORDS.findall(text) if isinstance(text, str) else text


def _prompt_tokens(call: Call) -> int:
    texts = [text_of(message.get("content")) for message in call.messages]
    return sum(len(_split(text)) for text in [*texts, call.prompt or ""])


def _check_context(call: Call, prompt_tokens: int) -> None:
    wanted = call.max_tokens or 0
    if call.context_window is not None and prompt_tokens + wanted > call.context_window:
        raise EngineError(
            f"This model's maximum context length is {call.context_window} tokens. However, you requested {wanted} "
            f"output tokens and your prompt contains {prompt_tokens} input tokens, for a total of "
            f"{prompt_tokens + wanted} tokens. Please reduce the length of the input prompt or the number of "
            "requested output tokens.",
            status=400,
            kind="context_overflow",
        )


def _until_stop(text: str | Sequence[str], stops: Sequence[str], *, keep: bool) -> tuple[Sequence[str], str | None]:
    """Cut the pieces before or after the first stop text; return which one matched."""
    pieces = _split(text)
    whole = "".join(pieces)
    found = [(whole.index(stop), stop) for stop in stops if stop and stop in whole]
    if not found:
        return pieces, None
    end, stop = min(found)
    end += len(stop) if keep else 0
    kept: list[str] = []
    for piece in pieces:
        kept.append(piece[:end])
        end -= len(piece)
        if end <= 0:
            break
    return [piece for piece in kept if piece], stop


def _logprobs(call: Call, piece: str) -> Sequence[TokenLogprob] | None:
    if call.logprobs is None and not call.tokens:
        return None
    token = _token(piece)
    return (token._replace(top=(token,) if call.logprobs else ()),)


def _token(piece: str, logprob: float | None = LOGPROB) -> TokenLogprob:
    content = piece.encode()
    number = 3 + zlib.crc32(content) % (_VOCABULARY - 3)
    return TokenLogprob(piece, logprob, bytes=list(content), id=number, special=False)


def _prompt_pieces(prompt: str) -> list[TokenLogprob]:
    """Return the prompt's tokens; the first has no probability, because nothing precedes it."""
    return [_token(piece, LOGPROB if place else None) for place, piece in enumerate(_split(prompt))]
