"""Parsers of a completion model's answers.

They check what they read: not every deployment holds its model to a shape.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from langchain_core.exceptions import OutputParserException
from langchain_core.output_parsers import BaseOutputParser
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ValidationError

from linkspan.errors import ConfigurationError
from linkspan.langchain.tools import schema_format

if TYPE_CHECKING:
    from enum import Enum, EnumMeta

__all__ = ["AnswerParser", "ChoiceParser", "choices_of", "json_schema_of"]


def json_schema_of(schema: dict[str, Any] | type, strict: bool | None = None) -> dict[str, Any]:
    """Return the JSON schema of a pydantic or TypedDict class, or of what is one already.

    Args:
        schema: The class or schema.
        strict: With ``True``, all fields are required and no others allowed.

    Raises:
        ConfigurationError: If the schema is unusable.
    """
    return dict(schema_format(schema, strict).schema or {})


def choices_of(schema: EnumMeta) -> list[str]:
    """Return the texts of an ``Enum``.

    Raises:
        ConfigurationError: If it has a member that is no text.
    """
    values: list[Any] = [member.value for member in cast("type[Enum]", schema)]
    if not values or not all(isinstance(value, str) for value in values):
        raise ConfigurationError(
            f"{schema.__name__} cannot be a choice: all values of the Enum must be texts, not {values}."
        )
    return values


class ChoiceParser(BaseOutputParser[Any]):
    """Reads an answer that is one of an ``Enum``'s texts."""

    target: Any

    def parse(self, text: str) -> Any:
        """Return the member.

        Raises:
            OutputParserException: If the answer is none of the texts.
        """
        try:
            return self.target(text.strip())
        except ValueError as error:
            raise _misfit(text, f"it is none of {', '.join(choices_of(self.target))}") from error


class AnswerParser(BaseOutputParser[Any]):
    """Reads a JSON answer and checks it against the schema: not every deployment holds its model to one."""

    target: Any = None
    json_schema: dict[str, Any]

    @classmethod
    def for_schema(cls, schema: dict[str, Any] | type, json_schema: dict[str, Any]) -> AnswerParser:
        """Return the parser of a schema: a pydantic class reads its own answers.

        Raises:
            ConfigurationError: The schema is no valid JSON Schema.
        """
        if isinstance(schema, type) and is_basemodel_subclass(schema):
            return cls(target=schema, json_schema=json_schema)
        import jsonschema  # noqa: PLC0415  # its import takes longer than most calls of it

        try:
            jsonschema.validators.validator_for(json_schema).check_schema(json_schema)
        except jsonschema.SchemaError as error:
            raise ConfigurationError(f"This is no valid JSON Schema, at {error.json_path}: {error.message}") from None
        return cls(json_schema=json_schema)

    def parse(self, text: str) -> Any:
        """Return the answer as an object.

        Raises:
            OutputParserException: If it is no JSON, or does not fit the schema.
        """
        import jsonschema  # noqa: PLC0415  # its import takes longer than most calls of it

        try:
            if self.target is not None:
                read = getattr(self.target, "model_validate_json", None)
                # A class of pydantic 1's, as pydantic 2 still carries them.
                return self.target.parse_raw(text) if read is None else read(text)
            answer = json.loads(text)
            jsonschema.validate(answer, self.json_schema)
        except ValueError as error:
            raise _misfit(text, _reason(error)) from error
        except jsonschema.ValidationError as error:
            raise _misfit(text, error.message) from error
        return answer


def _reason(error: ValueError) -> str:
    """Return what is wrong, field by field; the answer itself is said elsewhere."""
    if not isinstance(error, ValidationError):
        return str(error)
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" if detail["loc"] else detail["msg"]
        for detail in details
    )


def _misfit(text: str, reason: str) -> OutputParserException:
    """Return the error of an answer that has not the shape that was asked for."""
    return OutputParserException(
        f"The answer does not fit the schema: {reason}. It may have been cut off (raise max_tokens), or the deployment "
        f"does not hold its model to a schema. The answer: {text}",
        llm_output=text,
    )
