"""``with_structured_output``: a schema in, parsed objects out."""

from __future__ import annotations

import json
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, Union

from langchain_core.messages import HumanMessage, SystemMessage, convert_to_messages
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import is_basemodel_subclass

from linkspan.errors import ConfigurationError
from linkspan.langchain.answer_parsers import AnswerParser, json_schema_of
from linkspan.langchain.tools import schema_format

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable

__all__ = ["Method", "parsed", "structured", "structured_by_prompt"]

#: How the shape is asked for.
Method = Literal["json_schema", "function_calling", "json_mode"]
_Schema = Union[dict[str, Any], type, None]


def structured(
    model: BaseChatModel,
    schema: _Schema,
    *,
    method: Method,
    strict: bool | None,
    include_raw: bool,
    enforced: bool = True,
    kwargs: dict[str, Any],
) -> Runnable[LanguageModelInput, Any]:
    """Return the model with the schema bound, followed by the parser for it.

    Args:
        model: The chat model.
        schema: A pydantic class, a TypedDict class or a JSON schema.
        method: How the shape is asked for.
        strict: Sent with the schema, only if given.
        include_raw: Whether to answer with raw message, parsed object and parsing error.
        enforced: Whether the server is known to hold the model to a schema; if not, the answer is checked against it.
        kwargs: Bound as they are.

    Raises:
        ConfigurationError: If the method is unknown or the schema is missing or unusable.
    """
    asked = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    if method == "json_schema":
        bound = model.bind(
            response_format=_wire_format(_required(schema, method), strict), ls_structured_output_format=asked, **kwargs
        )
        parser = _text_parser(schema) if enforced else _checking_parser(schema)
    elif method == "json_mode":
        if strict is not None:
            raise ConfigurationError("strict has no meaning with method='json_mode': use 'json_schema'.")
        bound = model.bind(response_format={"type": "json_object"}, ls_structured_output_format=asked, **kwargs)
        parser = _text_parser(schema)
    elif method == "function_calling":
        given = _required(schema, method)
        name = str(schema_format(given).name)
        bound = model.bind_tools([given], tool_choice=name, strict=strict, ls_structured_output_format=asked, **kwargs)  # type: ignore[assignment]  # bind_tools promises less than it returns
        parser = _tool_parser(given, name)
    else:
        raise ConfigurationError(f"method={method!r} is unknown: use 'json_schema', 'function_calling' or 'json_mode'.")
    return parsed(bound, parser, include_raw=include_raw)


def parsed(
    bound: Runnable[LanguageModelInput, Any], parser: Runnable[Any, Any], *, include_raw: bool
) -> Runnable[LanguageModelInput, Any]:
    """Return a bound model followed by its parser, with the raw answer beside the parsed one if asked for."""
    return _with_raw(bound, parser) if include_raw else bound | parser


def structured_by_prompt(
    model: BaseChatModel, schema: _Schema, *, include_raw: bool, kwargs: dict[str, Any]
) -> Runnable[LanguageModelInput, Any]:
    """Return a chat model that is told the shape in its system message, followed by a parser of the answer's text.

    For APIs without a JSON mode: nothing holds the model to the shape but the words.

    Args:
        model: The chat model.
        schema: A pydantic class, a TypedDict class or a JSON schema; ``None`` for any JSON object.
        include_raw: Whether to answer with raw message, parsed object and parsing error.
        kwargs: Bound as they are.

    Raises:
        ConfigurationError: If the schema is unusable.
    """
    asked = {"kwargs": {"method": "json_mode"}, "schema": schema}
    told = RunnableLambda(partial(_with_instructions, _instructions(schema)), name="tell_the_shape")
    bound = told | model.bind(ls_structured_output_format=asked, **kwargs)
    parser = _text_parser(schema)
    return parsed(bound, parser, include_raw=include_raw)


def _instructions(schema: _Schema) -> str:
    words = "Answer with one JSON object and nothing else: no words around it, no code fence."
    if schema is None:
        return words
    made = schema_format(schema, None)
    described = {**({"description": made.description} if made.description else {}), **(made.schema or {})}
    return f"{words} It must conform to this JSON Schema:\n{json.dumps(described, ensure_ascii=False)}"


def _with_instructions(instructions: str, given: LanguageModelInput) -> list[BaseMessage]:
    """Return the conversation with the instructions at the end of its system message, which it gets if it has none."""
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


def _required(schema: _Schema, method: str) -> dict[str, Any] | type:
    if schema is None:
        raise ConfigurationError(f"method={method!r} needs a schema; without one use method='json_mode'.")
    return schema


def _wire_format(schema: dict[str, Any] | type, strict: bool | None) -> dict[str, Any]:
    """Return the form in which LangChain's agents bind a response format, too."""
    made = schema_format(schema, strict)
    inner = {"name": made.name, "description": made.description, "schema": made.schema, "strict": made.strict}
    return {"type": "json_schema", "json_schema": {key: value for key, value in inner.items() if value is not None}}


def _is_pydantic(schema: _Schema) -> bool:
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _text_parser(schema: _Schema) -> Runnable[Any, Any]:
    return PydanticOutputParser(pydantic_object=schema) if _is_pydantic(schema) else JsonOutputParser()


def _checking_parser(schema: _Schema) -> Runnable[Any, Any]:
    given = _required(schema, "json_schema")
    return AnswerParser.for_schema(given, json_schema_of(given))


def _tool_parser(schema: dict[str, Any] | type, name: str) -> Runnable[Any, Any]:
    if _is_pydantic(schema):
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def _with_raw(
    bound: Runnable[LanguageModelInput, Any], parser: Runnable[Any, Any]
) -> Runnable[LanguageModelInput, Any]:
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")
