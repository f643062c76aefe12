"""Parsers for structured output: LangChain runnables around linkspan's strict JSON reader."""

from __future__ import annotations

import contextlib
import functools
import json
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, cast

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import BaseOutputParser
from langchain_core.output_parsers.transform import BaseTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.utils.pydantic import is_basemodel_subclass

from linkspan.conversation import Completion, ToolCall, Usage
from linkspan.errors import ConfigurationError, InvalidResponseError
from linkspan.json_answer import JSONAnswerReader, refuse_blocked, validator_of, was_cut
from linkspan.langchain.errors import ContentBlockedError, converted_errors
from linkspan.langchain.tools import schema_format
from linkspan.tool_arguments import read_unfinished, unwrap_json_string

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from enum import Enum, EnumMeta

__all__ = ["AnswerParser", "ChoiceParser", "choices_of", "json_schema_of", "merged"]


def json_schema_of(schema: dict[str, Any] | type, strict: bool | None = None) -> dict[str, Any]:
    """Return the JSON schema of a pydantic or TypedDict class; a JSON schema is returned unchanged.

    With ``strict=True``, all fields are required and no others allowed.

    Raises:
        ConfigurationError: If the schema is unusable.
    """
    return dict(schema_format(schema, strict).schema or {})


def choices_of(schema: EnumMeta) -> list[str]:
    """Return the values of an ``Enum`` of strings.

    Raises:
        ConfigurationError: If a value is not a string.
    """
    values: list[Any] = [member.value for member in cast("type[Enum]", schema)]
    if not values or not all(isinstance(value, str) for value in values):
        raise ConfigurationError(
            f"{schema.__name__} cannot be a choice: all values of the Enum must be strings, not {values}."
        )
    return values


class ChoiceParser(BaseOutputParser[Any]):
    """Parses an answer that is one of the values of an ``Enum``."""

    target: Any

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:  # noqa: ARG002  # core's signature
        """Return the member.

        Raises:
            OutputParserException: If the answer is not one of the values, or is cut off and may be a prefix of another
                one.
            ContentBlockedError: If the answer was blocked.
        """
        generation = result[0]
        if isinstance(generation, ChatGeneration):
            answer = _completion_of(generation.message)
            with converted_errors():
                refuse_blocked(answer, self.target.__name__)
            said = _plain(answer.text)
            longer = [text for text in choices_of(self.target) if text != said and text.startswith(said)]
            if longer and was_cut(answer):
                raise OutputParserException(
                    f"The answer was cut off by the token limit (raise max_tokens) and may be a prefix of "
                    f"{', '.join(map(repr, longer))}. The answer: {answer.text}",
                    llm_output=answer.text,
                )
        return self.parse(generation.text)

    def parse(self, text: str) -> Any:
        """Return the member.

        Raises:
            OutputParserException: If the answer is not one of the values.
        """
        try:
            return self.target(_plain(text))
        except ValueError as error:
            raise OutputParserException(
                f"The answer is not one of {', '.join(choices_of(self.target))}. The answer: {text}", llm_output=text
            ) from error


def _plain(text: str) -> str:
    """Return an answer without blanks around it, and without the quotes of a JSON text."""
    text = text.strip()
    try:
        found = json.loads(text) if text.startswith('"') else None
    except ValueError:
        return text
    return found if isinstance(found, str) else text


class AnswerParser(BaseTransformOutputParser[Any]):
    """Parses an answer, or the arguments of a tool call, as one JSON value of a schema.

    A stream yields the growing partial object. It ends with the whole object, or with the error that ``invoke`` would
    raise.
    """

    reader: Any
    """The :class:`~linkspan.json_answer.JSONAnswerReader` that judges finished answers."""
    is_class: bool = False
    """Whether answers are instances of a class. A partial answer may not be enough to create one."""

    @classmethod
    def for_schema(
        cls,
        schema: dict[str, Any] | type | None,
        json_schema: dict[str, Any],
        *,
        name: str | None = None,
        tool: str | None = None,
    ) -> AnswerParser:
        """Return the parser of a schema.

        Args:
            schema: A pydantic class, a dataclass (the answer is an instance), a TypedDict class or a JSON schema (the
                answer is a dict); ``None`` for any JSON object.
            json_schema: The JSON schema that was sent.
            name: The schema's name, for errors.
            tool: Parse the arguments of this tool's call; by default parse the text.

        Raises:
            ConfigurationError: The schema is not a valid JSON Schema.
        """
        is_class = isinstance(schema, type) and (is_basemodel_subclass(schema) or is_dataclass(schema))
        validate = validator_of(cast("type", schema)) if is_class else _schema_validator(json_schema)
        shown = schema.__name__ if isinstance(schema, type) else name or "object of the schema"
        return cls(reader=JSONAnswerReader(shown, validate, tool), is_class=is_class)

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:  # noqa: ARG002  # core's signature
        """Return the object of a finished answer.

        Raises:
            OutputParserException: The answer is not one whole object of the schema. The message has reason and answer.
            ContentBlockedError: The answer was blocked, or the model refused.
        """
        generation = result[0]
        message = generation.message if isinstance(generation, ChatGeneration) else generation.text
        return self.read(message)

    def parse(self, text: str) -> Any:
        """Return the object of a text; see ``parse_result``."""
        return self.read(text)

    def read(self, answer: BaseMessage | str) -> Any:
        """Return the object of a finished answer, a message or a text; see ``parse_result``."""
        try:
            with converted_errors():
                return self.reader.read(_completion_of(answer))
        except InvalidResponseError as error:
            said = str(answer) if isinstance(answer, str) else _shown(answer)
            message = f"{error.message[0].upper()}{error.message[1:]} The answer: {said}"
            raise OutputParserException(message, llm_output=said) from error
        except ContentBlockedError as error:
            error.raw_message = answer
            raise

    # ------------------------------------------------------------------ streams

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:  # noqa: A002  # core's signature
        growing = _GrowingAnswer(self)
        for piece in input:
            yield from growing.add(piece)
        yield from growing.end()

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:  # noqa: A002  # core's signature
        growing = _GrowingAnswer(self)
        async for piece in input:
            for partial in growing.add(piece):
                yield partial
        for whole in growing.end():
            yield whole


def merged(pieces: Sequence[Any]) -> Any:
    """Return the sum of a stream's pieces, messages or texts."""
    first, *others = pieces or [""]
    if isinstance(first, AIMessageChunk) and others:
        return first + others
    return "".join(pieces) if isinstance(first, str) else pieces[-1]


class _GrowingAnswer:
    """The pieces of one streamed answer, and the object parsed from them so far."""

    def __init__(self, parser: AnswerParser) -> None:
        self._parser = parser
        self._tool = parser.reader.tool
        self._pieces: list[Any] = []
        self._text = ""
        self._index: int | None = None
        self._read_at = 0
        self._last: Any = None

    def add(self, piece: str | BaseMessage) -> Iterator[Any]:
        """Add the next piece; yield the object so far if it has grown."""
        self._pieces.append(piece)
        self._text += self._news(piece)
        # A long answer is parsed again only after it has grown by a share, so that the total work stays linear.
        if len(self._text) - self._read_at <= self._read_at // 64:
            return
        self._read_at = len(self._text)
        partial: Any = None
        # A partial answer may be anything, and the caller's validators expect whole ones.
        with contextlib.suppress(Exception):
            partial = self._partial()
        if partial is not None and partial != self._last:
            self._last = partial
            yield partial

    def _partial(self) -> Any:
        found = read_unfinished(self._text)
        if not found or not self._parser.is_class:
            return found or None
        return self._parser.reader.validate(json.dumps(found))

    def end(self) -> Iterator[Any]:
        """Yield the whole object, unless the last partial object equals it."""
        whole = self._parser.read(merged(self._pieces))
        if self._last is None or whole != self._last:
            yield whole

    def _news(self, piece: str | BaseMessage) -> str:
        if self._tool is None:
            return piece if isinstance(piece, str) else str(piece.text)
        news = ""
        for call in piece.tool_call_chunks if isinstance(piece, AIMessageChunk) else ():
            if call["name"] == self._tool and self._index is None:
                self._index = call["index"]
            if call["index"] == self._index:
                news += call["args"] or ""
        return news


def _completion_of(answer: BaseMessage | str) -> Completion:
    """Convert a finished answer to a neutral one."""
    if not isinstance(answer, AIMessage):
        return Completion(text=answer if isinstance(answer, str) else str(answer.text))
    usage = answer.usage_metadata
    return Completion(
        text=str(answer.text),
        reasoning=_reasoning_of(answer),
        refusal=answer.additional_kwargs.get("refusal") or "",
        tool_calls=_calls_of(answer),
        finish_reason=answer.response_metadata.get("finish_reason"),
        # Core's cache gives an answer without counts a usage of a total_cost alone.
        usage=None if usage is None else Usage(output_tokens=usage.get("output_tokens")),
        request_id=answer.response_metadata.get("request_id"),
        id=answer.id,
    )


def _reasoning_of(message: AIMessage) -> str:
    blocks = message.content if isinstance(message.content, list) else []
    found = (str(block.get("reasoning") or "") for block in blocks if isinstance(block, dict))
    return message.additional_kwargs.get("reasoning_content") or "".join(found)


def _calls_of(message: AIMessage) -> list[ToolCall]:
    """Return the calls with their arguments as text, the model's own text if the message kept it."""
    if isinstance(message, AIMessageChunk) and message.tool_call_chunks:
        return [
            # The last chunk keeps broken arguments as a JSON string.
            ToolCall(call["id"], call["name"] or "", unwrap_json_string(call["args"] or ""))
            for call in message.tool_call_chunks
        ]
    whole = [ToolCall(call["id"], call["name"], json.dumps(call["args"])) for call in message.tool_calls]
    return whole + [ToolCall(call["id"], call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls]


def _shown(message: BaseMessage) -> str:
    """Return the answer's text, for an error."""
    calls = _calls_of(message) if isinstance(message, AIMessage) else []
    return "\n".join([str(message.text), *(f"{call.name}({call.arguments})" for call in calls)]).strip()


def _schema_validator(json_schema: dict[str, Any]) -> Callable[[str], Any]:
    try:
        text = json.dumps(json_schema)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The JSON Schema cannot be written as JSON: {error}") from None
    _checked_validator(text)
    return functools.partial(_validated, text)


def _validated(schema_text: str, answer: str) -> Any:
    """Return the value of an answer that conforms to a schema. Not a closure, so that parsers can be pickled."""
    value = json.loads(answer)
    misfit = next(_checked_validator(schema_text).iter_errors(value), None)
    if misfit is not None:
        raise ValueError(f"{misfit.json_path}: {misfit.message}")
    return value


# Checking a schema takes longer than creating all the rest of a runnable, and many callers create one for each request.
@functools.lru_cache(maxsize=128)
def _checked_validator(schema_text: str) -> Any:
    import jsonschema  # noqa: PLC0415  # its import takes longer than most calls of it

    json_schema = json.loads(schema_text)
    kind = jsonschema.validators.validator_for(json_schema)
    try:
        kind.check_schema(json_schema)
    except jsonschema.SchemaError as error:
        raise ConfigurationError(f"Not a valid JSON Schema, at {error.json_path}: {error.message}") from None
    return kind(json_schema)
