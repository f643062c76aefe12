"""Implement ``with_structured_output``: bind a schema, and parse the answer into objects."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Union, cast

from langchain_core.messages import HumanMessage, SystemMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import AddableDict, RunnableGenerator, RunnableLambda, RunnableMap

from linkspan.errors import ConfigurationError
from linkspan.json_schema import require_object
from linkspan.langchain.answer_parsers import AnswerParser, merged
from linkspan.langchain.tools import Method, schema_format
from linkspan.langchain.typed_dicts import with_plain_fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable, RunnableConfig

    from linkspan.conversation import ResponseFormat
    from linkspan.langchain.chat_model import LinkspanChatModel

__all__ = ["parsed", "structured", "structured_by_prompt"]

_Schema = Union[dict[str, Any], type, None]
_KEYWORDS_OF_METHODS = {
    "json_schema": {"response_format"},
    "json_mode": {"response_format"},
    "function_calling": {"tools", "tool_choice"},
}


def structured(
    model: LinkspanChatModel,
    schema: _Schema,
    *,
    method: Method,
    strict: bool | None,
    include_raw: bool,
    kwargs: dict[str, Any],
) -> Runnable[LanguageModelInput, Any]:
    """Return the model with the schema bound, followed by its parser; see ``with_structured_output``.

    Raises:
        ConfigurationError: If the method is unknown or the schema is missing or unusable.
    """
    schema = with_plain_fields(schema)  # Core also reads the schema, for traces.
    asked = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    if method not in _KEYWORDS_OF_METHODS:
        raise ConfigurationError(f"method={method!r} is unknown: use 'json_schema', 'function_calling' or 'json_mode'.")
    taken = _KEYWORDS_OF_METHODS[method] & kwargs.keys()
    if taken:
        raise ConfigurationError(f"method={method!r} sets {' and '.join(sorted(taken))} itself: leave it out.")
    if method == "json_mode":
        if strict is not None:
            raise ConfigurationError("method='json_mode' does not support strict: use method='json_schema'.")
        return _json_mode(model, schema, include_raw=include_raw, kwargs=kwargs)
    if schema is None:
        raise ConfigurationError(f"method={method!r} needs a schema; without one use method='json_mode'.")
    made = schema_format(schema, strict)
    parameters = dict(made.schema or {})
    tool = None
    if method == "json_schema":
        bound = model.bind(response_format=_wire_format(made), ls_structured_output_format=asked, **kwargs)
    else:
        tool = str(made.name)
        require_object(parameters, tool, "use method='json_schema'")
        bound = model.bind_tools([_tool_of(made)], tool_choice=tool, ls_structured_output_format=asked, **kwargs)  # type: ignore[assignment]  # bind_tools promises less than it returns
    parser = AnswerParser.for_schema(schema, parameters, name=made.name, tool=tool)
    return parsed(bound, parser, include_raw=include_raw)


def _json_mode(
    model: LinkspanChatModel, schema: _Schema, *, include_raw: bool, kwargs: dict[str, Any]
) -> Runnable[LanguageModelInput, Any]:
    """Request a JSON object. An API without a JSON mode gets the schema, or an instruction in the system message."""
    if model._has_json_mode():  # noqa: SLF001  # what a model's class says to this module
        wanted: dict[str, Any] = {"type": "json_object"}
    elif schema is not None and model._holds_to_schema():  # noqa: SLF001  # as above
        wanted = _wire_format(_unnamed_format(schema))
    else:
        return structured_by_prompt(model, schema, include_raw=include_raw, kwargs=kwargs)
    asked = {"kwargs": {"method": "json_mode", "strict": None}, "schema": schema}
    bound = model.bind(response_format=wanted, ls_structured_output_format=asked, **kwargs)
    return parsed(bound, _any_json_parser(schema), include_raw=include_raw)


def parsed(
    bound: Runnable[LanguageModelInput, Any], parser: Runnable[Any, Any], *, include_raw: bool
) -> Runnable[LanguageModelInput, Any]:
    """Return a bound model followed by its parser; with ``include_raw`` also return the raw answer."""
    return RunnableMap(raw=bound) | _BesideRaw(parser).runnable() if include_raw else bound | parser


def structured_by_prompt(
    model: LinkspanChatModel, schema: _Schema, *, include_raw: bool, kwargs: dict[str, Any]
) -> Runnable[LanguageModelInput, Any]:
    """Return a chat model with the schema in its system message, followed by a parser of the answer's text.

    For APIs without a JSON mode: only the instruction makes the model follow the schema. Without one, it may answer
    with any JSON object.

    Raises:
        ConfigurationError: If the schema is unusable.
    """
    schema = with_plain_fields(schema)
    asked = {"kwargs": {"method": "json_mode"}, "schema": schema}
    instruct = RunnableLambda(partial(_with_instructions, _instructions(schema)), name="tell_the_shape")
    bound = instruct | model.bind(ls_structured_output_format=asked, **kwargs)
    return parsed(bound, _any_json_parser(schema), include_raw=include_raw)


class _BesideRaw:
    """Adds ``parsed`` and ``parsing_error`` to the output of ``RunnableMap(raw=...)``.

    Errors of the parser are never raised, not in streams either, where ``raw`` passes piece by piece.
    """

    def __init__(self, parser: Runnable[Any, Any]) -> None:
        self._parser = parser

    def runnable(self) -> Runnable[Any, Any]:
        # Core's type omits the config, which it passes to functions that accept one.
        whole, pieces = cast("Any", self._stream), cast("Any", self._astream)
        return RunnableGenerator(whole, pieces, name="parse_beside_raw")

    def _stream(self, pieces: Iterator[dict[str, Any]], config: RunnableConfig) -> Iterator[AddableDict]:
        raw: list[Any] = []
        for piece in pieces:
            raw.append(piece["raw"])
            yield AddableDict(piece)
        try:
            found = AddableDict(parsed=self._parser.invoke(merged(raw), config), parsing_error=None)
        except Exception as error:  # noqa: BLE001  # the option's promise: an error is a part of the answer
            found = AddableDict(parsed=None, parsing_error=error)
        yield found

    async def _astream(
        self, pieces: AsyncIterator[dict[str, Any]], config: RunnableConfig
    ) -> AsyncIterator[AddableDict]:
        raw: list[Any] = []
        async for piece in pieces:
            raw.append(piece["raw"])
            yield AddableDict(piece)
        try:
            found = AddableDict(parsed=await self._parser.ainvoke(merged(raw), config), parsing_error=None)
        except Exception as error:  # noqa: BLE001  # the option's promise: an error is a part of the answer
            found = AddableDict(parsed=None, parsing_error=error)
        yield found


def _instructions(schema: _Schema) -> str:
    words = "Answer with one JSON object and nothing else: no words around it, no code fence."
    if schema is None:
        return words
    made = _unnamed_format(schema)
    described = {**({"description": made.description} if made.description else {}), **(made.schema or {})}
    return f"{words} It must conform to this JSON Schema:\n{json.dumps(described, ensure_ascii=False)}"


def _with_instructions(instructions: str, given: LanguageModelInput) -> list[BaseMessage]:
    """Append instructions to the system message of a conversation, or add a system message."""
    if isinstance(given, PromptValue):
        messages = given.to_messages()
    else:
        messages = [HumanMessage(given)] if isinstance(given, str) else convert_to_messages(given)
    first = messages[0] if messages else None
    if not isinstance(first, SystemMessage):
        return [SystemMessage(instructions), *messages]
    content: Any = (
        f"{first.content}\n\n{instructions}"
        if isinstance(first.content, str)
        else [*first.content, {"type": "text", "text": instructions}]
    )
    return [first.model_copy(update={"content": content}), *messages[1:]]


def _wire_format(made: ResponseFormat) -> dict[str, Any]:
    """Return the form that LangChain's agents also use to bind a response format."""
    inner = {"name": made.name, "description": made.description, "schema": made.schema, "strict": made.strict}
    return {"type": "json_schema", "json_schema": {key: value for key, value in inner.items() if value is not None}}


def _tool_of(made: ResponseFormat) -> dict[str, Any]:
    inner = {"name": made.name, "description": made.description, "parameters": made.schema, "strict": made.strict}
    return {"type": "function", "function": {key: value for key, value in inner.items() if value is not None}}


def _any_json_parser(schema: _Schema) -> AnswerParser:
    """Return the parser for an answer without a sent schema."""
    described: Mapping[str, Any] = {"type": "object"} if schema is None else _unnamed_format(schema).schema or {}
    return AnswerParser.for_schema(schema, dict(described))


def _unnamed_format(schema: dict[str, Any] | type) -> ResponseFormat:
    """Return the response format of a schema whose name is not sent: a JSON schema needs no title."""
    if isinstance(schema, dict) and not {"title", "name", "function", "json_schema"} & schema.keys():
        schema = {"title": "answer", **schema}
    return schema_format(schema)
