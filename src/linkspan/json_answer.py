"""Parse JSON answers strictly: a text, or the arguments of a tool call, must be one whole value of the schema.

The frameworks' lenient parsers repair cut-off JSON and take the first of two objects; this parser does neither. It
accepts blanks, a code fence and raw line breaks inside strings, and refuses everything else that is not one whole JSON
value of the requested schema.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from linkspan.errors import ContentBlockedError, InvalidResponseError
from linkspan.providers.filters.blocked import block_reason
from linkspan.tool_arguments import (
    CUT_OFF_REASONS,
    JSON_DECODER,
    parse_arguments,
    unwrap_json_string,
    with_whole_characters,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.conversation import Completion

__all__ = ["JSONAnswerReader", "read_json", "refuse_blocked", "validator_of", "was_cut"]

_BLANKS = "\ufeff \t\r\n"
_FENCE = re.compile(r"(?P<fence>`{3,}|~{3,})[ \t]*[\w+.-]*[ \t]*\r?\n?")
_CONTROL = re.compile(r"[\x00-\x1f]")
_HALF = "the JSON is incomplete: it was cut off"


@dataclass(frozen=True, slots=True)
class JSONAnswerReader:
    """Parses answers that must be one JSON value of a schema.

    Args:
        name: The schema's name, for errors.
        validate: Creates the object from a text that is one whole JSON value. Raises ``ValueError`` (such as pydantic's
            ``ValidationError``) if the value does not match the schema.
        tool: Parse the arguments of this tool's call; ``None`` to parse the text.
        provider: The API's short name, for errors.
    """

    name: str
    validate: Callable[[str], Any]
    tool: str | None = None
    provider: str | None = None

    @classmethod
    def for_class(cls, output_cls: type[Any], tool: str | None = None, provider: str | None = None) -> JSONAnswerReader:
        """Return the reader of objects of a class."""
        return cls(output_cls.__name__, validator_of(output_cls), tool, provider)

    def read(self, answer: Completion) -> Any:
        """Return the object of a finished answer.

        Raises:
            ContentBlockedError: The answer was blocked, or the model refused.
            InvalidResponseError: The answer is not one whole object of the schema; ``partial`` is the answer.
        """
        refuse_blocked(answer, self.name, self.provider)
        is_cut = was_cut(answer)
        source = self._text(answer, is_cut=is_cut) if self.tool is None else self._arguments(answer, is_cut=is_cut)
        try:
            return self.validate(read_json(source, is_cut=is_cut))
        except (ValueError, RecursionError) as error:
            raise self._invalid(answer, _reason(error), is_cut=is_cut) from error

    def _text(self, answer: Completion, *, is_cut: bool) -> str:
        """Return the text, or the reasoning if a server put the whole object there."""
        if answer.text.strip():
            return answer.text
        if answer.reasoning.strip() and not is_cut:
            try:
                self.validate(read_json(answer.reasoning))
            except (ValueError, RecursionError):
                pass  # Ordinary reasoning: the error is that the answer has no text.
            else:
                return answer.reasoning
        raise self._invalid(answer, self._nothing(answer), is_cut=is_cut)

    def _arguments(self, answer: Completion, *, is_cut: bool) -> str:
        """Return the arguments of the requested call."""
        calls = [call for call in answer.tool_calls if call.name == self.tool]
        if not calls:
            raise self._invalid(answer, self._other(answer), is_cut=is_cut)
        call = next((call for call in calls if parse_arguments(call.arguments) is not None), calls[0])
        arguments = unwrap_json_string(call.arguments) if call.arguments.strip() else "{}"
        if is_cut and arguments.strip() == "{}":
            raise self._invalid(answer, f"the call of {self.tool} has no arguments", is_cut=True)
        return arguments

    def _other(self, answer: Completion) -> str:
        names = ", ".join(repr(call.name) for call in answer.tool_calls)
        if names:
            return f"the model called {names} instead of {self.tool!r}"
        if answer.text.strip():
            return f"the model answered in words instead of calling {self.tool!r}"
        return f"the model did not call {self.tool!r}, and {self._nothing(answer)}"

    @staticmethod
    def _nothing(answer: Completion) -> str:
        if answer.tool_calls:
            names = ", ".join(repr(call.name) for call in answer.tool_calls)
            return f"the text is empty, and the model called {names} instead"
        if answer.reasoning.strip():
            return (
                f"the text is empty, but there is reasoning of {len(answer.reasoning)} characters: the tokens may "
                "have gone into it, or the server's reasoning parser took the object for a part of it"
            )
        return "the text is empty"

    def _invalid(self, answer: Completion, reason: str, *, is_cut: bool) -> InvalidResponseError:
        if is_cut:
            advice = "The token limit cut it off: raise max_tokens."
        elif reason == _HALF:
            advice = "If the token limit cut it off, raise max_tokens."
        elif self.tool is None:
            advice = "The deployment may not enforce schemas."
        else:
            advice = "The server may not enforce the tool's schema."
        return InvalidResponseError(
            f"the answer is not a valid {self.name}: {reason} (finish reason {answer.finish_reason}). {advice}",
            provider=self.provider,
            request_id=answer.request_id,
            partial=answer,
        )


def refuse_blocked(answer: Completion, name: str, provider: str | None = None) -> None:
    """Raise an error if an answer was blocked or refused instead of being an object.

    Raises:
        ContentBlockedError: The answer was blocked, or the model refused.
    """
    blocked = block_reason(answer)
    if blocked is not None:
        raise ContentBlockedError(
            f"the answer was blocked ({blocked}), so there is no {name}; the error's completion holds it.",
            provider=provider,
            code=blocked,
            completion=answer,
        )


def was_cut(answer: Completion) -> bool:
    """Whether the token limit cut off an answer."""
    return answer.finish_reason in CUT_OFF_REASONS


def read_json(text: str, *, is_cut: bool = False) -> str:
    """Return the one JSON value of a text as strict JSON. Allows a code fence, blanks and raw line breaks.

    A lone surrogate (half of a UTF-16 pair) becomes U+FFFD.

    Args:
        text: The model's text.
        is_cut: Whether the token limit cut it off. Then a top-level number or literal may be incomplete.

    Raises:
        ValueError: The text is not one whole JSON value; the message says why.
    """
    value = _without_fence(text.strip(_BLANKS))
    if not value:
        raise ValueError("it is empty")
    try:
        found, end = JSON_DECODER.raw_decode(value)
    except ValueError as error:
        raise ValueError(_why_not_json(value, error)) from None
    rest = value[end:].strip(_BLANKS)
    if rest:
        raise ValueError(
            "there is a second JSON value after the first" if rest[0] in '{["' else "there is text after the JSON"
        )
    if is_cut and not isinstance(found, (dict, list, str)):
        raise ValueError("a top-level number or literal may be incomplete")
    try:
        from_json(value[:end])
    except ValueError:
        # Raw line breaks and lone surrogates inside strings, which pydantic's parser refuses.
        return json.dumps(with_whole_characters(found))
    return value[:end]


def validator_of(cls: type) -> Callable[[str], Any]:
    """Return a function that creates an object from JSON text: pydantic 2 or 1, or a dataclass."""
    read: Callable[[str], Any] | None = getattr(cls, "model_validate_json", None) or getattr(cls, "parse_raw", None)
    return TypeAdapter(cls).validate_json if read is None else read


def _without_fence(text: str) -> str:
    """Return the content of a code fence; an unclosed fence (stop text, token limit) contains the rest."""
    opening = _FENCE.match(text)
    if opening is None:
        return text
    return text[opening.end() :].removesuffix(opening["fence"]).strip(_BLANKS)


def _why_not_json(value: str, error: ValueError) -> str:
    # Any other error refuses a number, such as NaN, which is no sign of a cut.
    if isinstance(error, json.JSONDecodeError) and _is_beginning_of_json(value):
        return _HALF
    if value[0] not in "{[" and ("{" in value or "[" in value):
        return "there is text before the JSON"
    return f"it is not JSON: {error}"


def _is_beginning_of_json(value: str) -> bool:
    try:
        from_json(_CONTROL.sub(" ", value), allow_partial=True, allow_inf_nan=False)
    except ValueError:
        return False
    return True


def _reason(error: Exception) -> str:
    """Return the validation errors by field, without the answer itself."""
    if not isinstance(error, ValidationError):
        return str(error)
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" if detail["loc"] else detail["msg"]
        for detail in details
    )
