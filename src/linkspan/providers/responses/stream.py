"""Decode Responses answers: event data in, deltas out.

A stream's last event holds the whole answer, so one decoder serves both.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta, ToolCallDelta, Usage
from linkspan.errors import InterruptedStreamError, InvalidResponseError
from linkspan.providers.chat_completions.call_ids import CallIds
from linkspan.providers.chat_completions.decode import (
    decode_logprob_entries,
    decode_usage,
    error_in,
    unexplained,
    unknown_fields,
)
from linkspan.providers.error_bodies import make_error, read_error, request_id_of
from linkspan.providers.responses.events import ENDS, KINDS, PIECES, STARTS, WHOLE_PARTS
from linkspan.providers.responses.item_index import ItemIndex
from linkspan.providers.responses.items import (
    JOINT,
    SPOKEN_KINDS,
    annotations_of,
    item_contents,
    keep_encrypted,
    logprobs_of,
)
from linkspan.providers.responses.response import RESPONSE_FIELDS, finish_reason_of
from linkspan.providers.wire import as_list, as_name, as_object, as_text, parse_json
from linkspan.tool_arguments import as_json_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from linkspan.conversation import Message, TokenLogprob
    from linkspan.errors import LinkspanError
    from linkspan.providers.chat_completions.decode import Explain
    from linkspan.providers.responses.items import Item
    from linkspan.providers.tool_names import ToolNames

__all__ = ["ResponsesDecoder"]

_DONE = b"[DONE]"


class ResponsesDecoder:
    """Decodes one answer.

    ``limit`` is the request's limit of generated tokens; for the rest see :class:`ChatStreamDecoder`.
    """

    #: This decoder never ends an answer before the server does.
    cut_short = False

    __slots__ = (
        "_call_indexes",
        "_explain",
        "_extra",
        "_finish",
        "_headers",
        "_id",
        "_ids",
        "_item_of",
        "_items",
        "_limit",
        "_model",
        "_names",
        "_provider",
        "_speakers",
        "_usage",
        "finished",
    )

    def __init__(
        self,
        provider: str,
        headers: Mapping[str, str],
        *,
        names: ToolNames | None = None,
        conversation: Sequence[Message] = (),
        limit: int | None = None,
        explain: Explain = unexplained,
    ) -> None:
        self._provider = provider
        self._headers = headers
        self._names = names
        self._limit = limit
        self._explain = explain
        self._ids = CallIds(conversation)
        self._call_indexes = count()
        self._items = ItemIndex()
        self._item_of = self._items.of_event  # bound once, as each piece calls it
        #: The last item that yielded text, refusal or reasoning.
        self._speakers: dict[str, Item] = {}
        self._extra: dict[str, Any] = {}
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._id: str | None = None
        self._model: str | None = None
        self.finished = False

    @property
    def complete(self) -> bool:
        """Whether the response that ends the answer has arrived."""
        return self.finished

    def end(self) -> None:
        """Mark the answer as complete because a filter ended it, whatever the server still sends."""
        self.finished = True

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event.

        Raises:
            InvalidResponseError: It is not an event of this API, or contradicts earlier ones.
            LinkspanError: The event is an error.
        """
        if data[:6] == _DONE or not data.strip():
            return ()
        event = parse_json(data, self._provider)
        kind = event.get("type") if isinstance(event, dict) else None
        if not isinstance(kind, str):
            raise error_in(event, self._provider, self._headers, self._explain) or self._invalid(
                "an event of the stream is not from the Responses API"
            )
        channel = PIECES.get(kind)
        if channel is not None:
            return self._piece(channel, event)
        if kind in WHOLE_PARTS:
            return self._whole_part(*WHOLE_PARTS[kind], event)
        return list(self._less_common(kind, event))

    def _less_common(self, kind: str, event: Mapping[str, Any]) -> Iterator[Delta]:
        if kind == "response.output_item.added":
            yield from self._open(self._item_of(event, None, begins=True), as_object(event.get("item"), "item"))
        elif kind == "response.output_item.done":
            fields = as_object(event.get("item"), "item")
            yield from self._whole_item(self._item_of(event, None), fields)
            keep_encrypted(fields, self._extra)
        elif kind in ENDS:
            yield from self.end_with(as_object(event.get("response"), "response"), kind.removeprefix("response."))
        elif kind in STARTS:
            self._keep_names(as_object(event.get("response"), "response"))
        elif kind == "error":
            raise self._error(event)
        elif not kind.startswith("response."):
            self._refuse_error(event)  # vLLM's errors have their own kind in "type"
        elif "delta" in event and not self._items.has_server_tool_of(event):
            raise self._invalid(f"an event {kind!r} of the stream holds a piece of the answer of an unknown kind")
        # All others add nothing: starts and ends of parts, annotations, progress of a server's own tools.

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream.

        Raises:
            InterruptedStreamError: The stream ended without the response that ends an answer.
            InvalidResponseError: The stream held no answer, or a call names no function.
        """
        request_id = request_id_of(self._headers)
        if not self.finished:
            if not (self._items or self._id):
                raise self._invalid("the stream held no answer")
            raise InterruptedStreamError(
                f"{self._provider}: the stream ended before the answer did: response.completed is missing.",
                provider=self._provider,
                request_id=request_id,
            )
        if any(item.kind == "function_call" and item.call_index is None for item in self._items):
            raise self._invalid("a tool call of the answer names no function")
        return [
            Delta(
                finish_reason=self._finish,
                usage=self._usage,
                id=self._id,
                model=self._model,
                request_id=request_id,
                extra=self._extra or None,
                last=True,
            )
        ]

    # ------------------------------------------------------------------ the response around the answer

    def end_with(self, response: Mapping[str, Any], event: str) -> Iterator[Delta]:
        """Process the response that ends the answer: yield what it adds to the stream.

        ``event`` is the status by the event's name, used if the response has none.

        Raises:
            InvalidResponseError: It contradicts the stream, or is not final.
            LinkspanError: The response failed.
        """
        self._keep_names(response)
        status = as_name(response.get("status"), "status") or event
        error = response.get("error")
        if error or status in {"failed", "cancelled"}:
            error = error or {"message": f"the server gave up on the answer (status {status!r})"}
            raise self._error({"error": error})
        if status not in {"completed", "incomplete"}:
            raise self._invalid(f"the answer has not ended: its status is {status!r}")
        if response.get("output") is None and not self._items:
            raise self._invalid("the answer is not a response: output is missing")
        output = [as_object(entry, "an item of the output") for entry in as_list(response.get("output"), "output")]
        pairs = list(self._items.paired(output))
        for place, (item, _) in enumerate(pairs):
            item.place = place
        for item, fields in pairs:
            yield from self._whole_item(item, fields)
        for fields in output:
            keep_encrypted(fields, self._extra)
        self._usage = decode_usage(response.get("usage"), "input_tokens", "output_tokens")
        calls = any(item.kind == "function_call" for item in self._items)
        self._finish = finish_reason_of(response, status, self._usage, self._limit, calls=calls)
        self._extra.update(unknown_fields(response, RESPONSE_FIELDS))
        self.finished = True

    def _keep_names(self, response: Mapping[str, Any]) -> None:
        self._id = as_name(response.get("id"), "id") or self._id
        self._model = as_name(response.get("model"), "model") or self._model

    def _error(self, body: Mapping[str, Any]) -> LinkspanError:
        return self._explain(make_error(self._provider, read_error(body), headers=self._headers))

    def _refuse_error(self, event: Mapping[str, Any]) -> None:
        error = error_in(event, self._provider, self._headers, self._explain)
        if error is not None:
            raise error

    def _invalid(self, words: str) -> InvalidResponseError:
        return InvalidResponseError(
            f"{self._provider}: {words}.", provider=self._provider, request_id=request_id_of(self._headers)
        )

    def _open(self, item: Item, fields: Mapping[str, Any]) -> Sequence[Delta]:
        """Yield the head of a call. Arguments in it are ignored, because vLLM repeats them in the first piece."""
        if item.kind != "function_call":
            return ()
        name = as_text(fields.get("name"), "the name of a tool call")
        if item.call_index is not None and name not in {"", item.name}:
            raise self._invalid(f"the answer contradicts itself: it calls {item.name!r} and then {name!r}")
        if item.call_index is not None or not name:
            return ()
        item.name = name
        item.call_index = next(self._call_indexes)
        call_id = self._ids.claim(fields.get("call_id") or fields.get("id"))
        calls = [ToolCallDelta(item.call_index, call_id, item.name, item.held)]
        return (Delta(tool_calls=calls if self._names is None else self._names.in_pieces(calls), id=self._id),)

    def _whole_item(self, item: Item, fields: Mapping[str, Any]) -> Iterator[Delta]:
        """Process a whole item: yield what it adds to its pieces."""
        yield from self._open(item, fields)
        for channel, said in item_contents(fields).items():
            rest = item.rest_of_item(channel, said)
            scores = item.rest_of_scores(logprobs_of(fields), of_part=False) if channel == "text" else None
            yield from self._hand_out(item, channel, rest, scores)
        if item.is_whole:
            return
        item.is_whole = True
        if item.kind == "message":
            notes = annotations_of(fields)
            if notes:
                self._extra.setdefault("annotations", []).extend(notes)
        elif item.kind not in SPOKEN_KINDS:
            self._extra.setdefault("other_output", []).append(dict(fields))

    # ------------------------------------------------------------------ contents of items

    def _piece(self, channel: str, event: Mapping[str, Any]) -> Sequence[Delta]:
        item = self._item_of(event, KINDS[channel])
        piece = event.get("delta")
        piece = as_json_text(piece) if channel == "arguments" else as_text(piece, "delta")
        if channel == "summary":
            piece = item.before_part(event.get("summary_index")) + piece
        item.add(channel, piece)
        entries = event.get("logprobs")
        return self._hand_out(item, channel, piece, item.scored(decode_logprob_entries(entries)) if entries else None)

    def _whole_part(self, channel: str, field: str, event: Mapping[str, Any]) -> Sequence[Delta]:
        item = self._item_of(event, KINDS[channel])
        said = event.get(field)
        said = as_json_text(said) if channel == "arguments" else as_text(said, field)
        number = event.get("content_index" if channel != "summary" else "summary_index")
        if channel == "summary" and number is not None:
            said = item.before_part(number) + said
        entries = event.get("logprobs")
        scores = decode_logprob_entries(entries) if entries else None
        return self._hand_out(item, channel, *item.rest_of_part(channel, str(number), said, scores))

    def _hand_out(
        self, item: Item, channel: str, text: str, logprobs: list[TokenLogprob] | None = None
    ) -> Sequence[Delta]:
        """Yield an item's content, separated from the content of another item before it."""
        if not (text or logprobs):
            return ()
        if channel == "arguments":
            return self._call_piece(item, text)
        if item.kind == "reasoning":
            item.thoughts = item.thoughts or channel
            if channel != item.thoughts:
                self._extra["reasoning_" + channel] = self._extra.get("reasoning_" + channel, "") + text
                return ()
            channel = "reasoning"
        if self._speakers.get(channel) is not item:
            text, logprobs = self._opening(item, channel, text, logprobs)
            if not (text or logprobs):
                return ()
        if channel == "text":
            return (Delta(text, self._id, logprobs=logprobs),)
        return (Delta(reasoning=text, id=self._id) if channel == "reasoning" else Delta(refusal=text, id=self._id),)

    def _call_piece(self, item: Item, arguments: str) -> Sequence[Delta]:
        if item.call_index is None:
            item.held += arguments
            return ()
        return (Delta(tool_calls=[ToolCallDelta(item.call_index, arguments=arguments)], id=self._id),)

    def _opening(
        self, item: Item, channel: str, text: str, logprobs: list[TokenLogprob] | None
    ) -> tuple[str, list[TokenLogprob] | None]:
        """Return the first content of an item in a channel: nothing until it is more than white space.

        Raises:
            InvalidResponseError: Another item has yielded content in between, which cannot be inserted before that.
        """
        if not text and channel in item.spoken:
            return "", logprobs  # the whole item repeats its text with log probabilities
        text, logprobs = item.opening(channel, text, logprobs)
        if not text:
            return "", None
        speaker = self._speakers.get(channel)
        if channel in item.spoken or (speaker is not None and speaker.place > item.place):
            raise self._invalid("the pieces of two items of the answer are mixed")
        item.spoken.add(channel)
        self._speakers[channel] = item
        return text if speaker is None else JOINT + text, logprobs
