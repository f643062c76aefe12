"""Decode a streamed Chat Completions answer: events to deltas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta, TokenLogprob, Usage
from linkspan.errors import InterruptedStreamError, InvalidResponseError
from linkspan.providers.chat_completions.call_ids import CallIds
from linkspan.providers.chat_completions.decode import (
    KNOWN_CHOICE,
    KNOWN_MESSAGE,
    KNOWN_TOP,
    calls_in,
    decode_logprobs,
    decode_usage,
    error_in,
    read_content,
    reasoning_of,
    unexplained,
    unknown_fields,
)
from linkspan.providers.chat_completions.event_pattern import EventPattern
from linkspan.providers.chat_completions.tool_call_stream import ToolCallStream
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.failed import failure_of
from linkspan.providers.unknown_fields import ChoiceFields, join_fields, merge_levels
from linkspan.providers.wire import as_count, as_name, as_text, not_an_object, parse_json, wrong_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import ChatRequest, Message
    from linkspan.providers.chat_completions.decode import Explain
    from linkspan.providers.tool_names import ToolNames

__all__ = ["ChatStreamDecoder", "requested_choices"]

_DONE = b"[DONE]"
#: The fields in which routes send a choice's content.
_PIECES = frozenset({"delta", "message", "text"})


class ChatStreamDecoder:
    """State of one stream.

    ``choices`` is the number of requested answers (``n``). ``names`` restores the names of the request's tools in
    calls, and ids of earlier calls in the ``conversation`` are not reused.

    Finish reason, usage, model and unknown fields are held back for the last delta. Servers send them on any chunk, on
    several, or as running totals, and frameworks would add up repeated values.
    """

    #: This decoder never ends an answer before the server does.
    cut_short = False
    #: The field of a choice that holds the next piece of its answer.
    _piece_field = "delta"

    __slots__ = (
        "_calls",
        "_choices",
        "_conversation",
        "_explain",
        "_extra",
        "_fields",
        "_finish",
        "_headers",
        "_id",
        "_model",
        "_names",
        "_pattern",
        "_provider",
        "_seen",
        "_usage",
        "finished",
    )

    def __init__(
        self,
        provider: str,
        headers: Mapping[str, str],
        *,
        choices: int = 1,
        names: ToolNames | None = None,
        conversation: Sequence[Message] = (),
        explain: Explain = unexplained,
    ) -> None:
        self._provider = provider
        self._names = names
        self._headers = headers
        self._choices = choices
        self._conversation = conversation
        self._explain = explain
        self._calls: dict[int, ToolCallStream] = {}
        self._finish: dict[int, str] = {}
        self._extra: dict[str, Any] = {}
        self._fields: dict[int, ChoiceFields] = {}
        self._usage: Usage | None = None
        self._id: str | None = None
        self._model: str | None = None
        self._seen: set[int] = set()
        self._pattern = EventPattern()
        self.finished = False

    @property
    def complete(self) -> bool:
        """Whether every requested or seen choice has its finish reason, or the end mark was received."""
        return self.finished or len(self._finish) >= max(self._choices, len(self._seen))

    def end(self) -> None:
        """Mark the answer as complete: a filter ended it, whatever the server still sends."""
        self.finished = True

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event.

        Raises:
            InvalidResponseError: The event is not a JSON object.
            LinkspanError: The event is an error.
        """
        text = self._pattern.text_of(data)
        return (Delta(text, self._id),) if text else self._feed_whole(data)

    def _feed_whole(self, data: bytes) -> Sequence[Delta]:
        if data[:6] == _DONE:
            self.finished = True
            return ()
        if not data.strip():
            return ()
        chunk = parse_json(data, self._provider)
        if not isinstance(chunk, dict):
            raise not_an_object(chunk, "an event of the stream", self._provider)
        choices = chunk.get("choices")
        if not choices or "error" in chunk:
            self._raise_error_in(chunk)
        self._store_metadata(chunk)
        if not choices:
            return ()
        if choices.__class__ is not list:
            raise wrong_type(choices, "choices", "a list")
        if len(choices) == 1:  # the usual case, without nested lists
            delta = self._take_choice(choices[0])
            if delta is None:
                return ()
            if self._is_text(chunk, choices[0]):
                self._pattern.learn(data)
            return (delta,)
        return [delta for delta in map(self._take_choice, choices) if delta is not None]

    def _is_text(self, chunk: Mapping[str, Any], choice: Mapping[str, Any]) -> bool:
        """Whether an event only carries text of the first choice."""
        message = choice.get("delta")
        return (
            message.__class__ is dict
            and message.get("content").__class__ is str
            and all(not value for key, value in message.items() if key not in {"content", "role"})
            and not choice.get("index")
            and not choice.get("logprobs")
            and not choice.get("finish_reason")
            and (KNOWN_CHOICE.issuperset(choice) or not any(unknown_fields(choice, KNOWN_CHOICE).values()))
            and not chunk.get("usage")
        )

    def _store_metadata(self, chunk: Mapping[str, Any]) -> None:
        if self._id is None:
            self._id = as_name(chunk.get("id"), "id")
        if chunk.get("usage") is not None:
            self._usage = decode_usage(chunk["usage"])
        model = chunk.get("model")
        if model:
            self._model = as_name(model, "model")
        if not KNOWN_TOP.issuperset(chunk):
            join_fields(self._extra, unknown_fields(chunk, KNOWN_TOP), pieces=False)

    def _raise_error_in(self, chunk: Mapping[str, Any]) -> None:
        if chunk.get("error"):
            chunk = {key: value for key, value in chunk.items() if key != "choices"}
        error = error_in(chunk, self._provider, self._headers, self._explain)
        if error is not None:
            raise error

    def _take_choice(self, choice: Any) -> Delta | None:
        index = self._store_choice(choice, KNOWN_CHOICE)
        message = choice.get("delta")
        logprobs = choice.get("logprobs")
        scores = decode_logprobs(logprobs) if logprobs else None
        if not message:
            return None if scores is None else Delta(logprobs=scores, id=self._id, choice=index)
        if message.__class__ is not dict:
            raise wrong_type(message, "delta", "an object")
        return self._take_delta(message, scores, index)

    def _store_choice(self, choice: Any, known: frozenset[str]) -> int:
        """Store finish reason and unknown fields of a choice, and return its index."""
        if choice.__class__ is not dict:
            raise wrong_type(choice, "a choice", "an object")
        index: int = choice.get("index") or 0
        if index.__class__ is not int:
            index = as_count(index, "index") or 0
        finish = choice.get("finish_reason")
        # A server may end an empty answer, such as a blocked one, without a piece.
        if self._piece_field in choice or (finish and _PIECES.isdisjoint(choice)):
            self._seen.add(index)
        if finish:
            self._finish[index] = as_name(finish, "finish_reason") or ""
        if not known.issuperset(choice):
            self._fields_of(index).add_choice(unknown_fields(choice, known))
        return index

    def _take_delta(self, message: Mapping[str, Any], scores: list[TokenLogprob] | None, index: int) -> Delta | None:
        if not KNOWN_MESSAGE.issuperset(message):
            self._fields_of(index).add_message(unknown_fields(message, KNOWN_MESSAGE))
        text = message.get("content") or ""
        reasoning = reasoning_of(message)
        if text.__class__ is not str:
            text, thought = read_content(text, self._provider)
            reasoning = reasoning or thought
        fragments = calls_in(message)
        calls = self._calls_of(index).feed(fragments) if fragments else ()
        if calls and self._names is not None:
            calls = self._names.in_pieces(calls)
        refusal = message.get("refusal")
        refusal = as_text(refusal, "refusal") if refusal else ""
        if not (text or reasoning or calls or refusal or scores):
            return None
        return Delta(text, self._id, reasoning, calls, refusal, logprobs=scores, choice=index)

    def _calls_of(self, choice: int) -> ToolCallStream:
        calls = self._calls.get(choice)
        if calls is None:
            offered = () if self._names is None else self._names.offered
            calls = self._calls[choice] = ToolCallStream(CallIds(self._conversation), offered)
        return calls

    def _fields_of(self, index: int) -> ChoiceFields:
        return self._fields.setdefault(index, ChoiceFields())

    def _extra_of(self, index: int) -> dict[str, Any]:
        fields = self._fields.get(index)
        return {} if fields is None else fields.merged()

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream.

        Raises:
            InterruptedStreamError: The stream ended without finish reason and end mark.
            InvalidResponseError: The stream had no answer.
            ServerError: The finish reason says that the server aborted the answer.
        """
        request_id = request_id_of(self._headers)
        failure = failure_of(self._finish.values(), self._provider, request_id)
        if 0 not in self._seen:
            raise failure or InvalidResponseError(
                f"{self._provider}: the stream held no answer.", provider=self._provider, request_id=request_id
            )
        if not self.complete:
            raise InterruptedStreamError(
                f"{self._provider}: the stream ended before the answer did, with neither "
                f"{'finish reason' if self._choices == 1 else 'a finish reason for each choice'} nor end mark.",
                provider=self._provider,
                request_id=request_id,
            )
        if failure is not None:
            raise failure
        deltas = []
        for index, calls in sorted(self._calls.items()):
            held = calls.close(self._provider)
            if held:
                deltas.append(Delta(tool_calls=held, id=self._id, choice=index))
        deltas.extend(
            Delta(finish_reason=self._finish.get(index), id=self._id, choice=index, extra=self._extra_of(index) or None)
            for index in sorted({*self._finish, *self._fields})
            if index
        )
        extra = self._extra_of(0)
        merge_levels(extra, self._extra)
        deltas.append(
            Delta(
                finish_reason=self._finish.get(0),
                usage=self._usage,
                id=self._id,
                model=self._model,
                request_id=request_id,
                extra=extra or None,
                last=True,
            )
        )
        return deltas


def requested_choices(request: ChatRequest) -> int:
    """Return the number of answers that a request wants."""
    wanted = request.extra_body.get("n") or request.parameters.get("n")
    return wanted if type(wanted) is int else 1
