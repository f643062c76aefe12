"""Checks names and values against the fields of a pydantic class: the same for a constructor, a change and a call."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic.fields import FieldInfo

    from linkspan.connection import Connected

__all__ = ["check_value", "documented", "near_match", "refuse_unknown", "takes_none", "validation_problems"]


def near_match(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a hint at the known name that is most like this one, ``""`` if none is."""
    close = get_close_matches(name, sorted(known), n=1, cutoff=cutoff)
    return f" Did you mean {close[0]!r}?" if close else ""


def refuse_unknown(cls: type[Connected], names: Iterable[str]) -> None:
    """Refuse arguments that are no fields of a class.

    Raises:
        ConfigurationError: One is unknown.
    """
    for name in names:
        if name not in cls.model_fields:
            known = [*cls.model_fields, *cls.argument_aliases]
            if name == "chat_template" and hasattr(cls, "_prompt_codec"):
                raise ConfigurationError(
                    f"{cls.__name__} sends prompts as they are: chat_template is for Chat{cls.__name__}.",
                    provider=cls._provider.name,
                )
            raise ConfigurationError(
                f"{cls.__name__} has no argument {name!r}.{near_match(name, known)} Parameters of the API that it "
                f"does not name go into {cls.further_parameters}.",
                provider=cls._provider.name,
            )


def check_value(cls: type[Connected], name: str, value: Any) -> Any:
    """Return a field's value as the class keeps it; ``None`` stands for the default where it is no value of its own.

    Raises:
        ConfigurationError: It is none that the field takes.
    """
    field = cls.model_fields[name]
    if value is None and not takes_none(field):
        return field.get_default(call_default_factory=True)
    adapter = _adapter(cls, name)
    if adapter is None:
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ConfigurationError(
            f"{cls.__name__}: {validation_problems(error, name)}", provider=cls._provider.name
        ) from None


def takes_none(field: FieldInfo) -> bool:
    """Whether ``None`` is a value of the field, or has to be refused as one: not where the default is another."""
    return field.is_required() or field.default is None


@cache
def _adapter(cls: type[Connected], name: str) -> TypeAdapter[Any] | None:
    """Return the validator of one of linkspan's fields; a framework's own fields are the framework's business."""
    declares = next((base for base in cls.__mro__ if name in vars(base).get("__annotations__", ())), None)
    if declares is None or not hasattr(declares, "argument_aliases"):
        return None
    field = cls.model_fields[name]
    annotation: Any = field.annotation
    if field.metadata:
        parts = (annotation, *field.metadata)
        annotation = cast("Any", Annotated)[parts]
    return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True, hide_input_in_errors=True))


def validation_problems(error: ValidationError, field: str | None = None) -> str:
    """Return what is wrong, field by field and without the values: one may be a key in the wrong place."""
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        place = ".".join(map(str, (field, *detail["loc"]) if field else detail["loc"])) or "arguments"
        problems.append(f"{place}: {detail['msg'].removeprefix('Value error, ')}")
    return "; ".join(problems)


def documented(cls: type[Connected]) -> str:
    """Return a class's docstring with an entry for each of linkspan's fields, for ``help`` and the reference."""
    # Mixins of parameters are linkspan's, too, and know of no connection.
    declaring = [base for base in cls.__mro__ if hasattr(base, "argument_aliases") or "linkspan." in base.__module__]
    places = {name: place for place, base in enumerate(declaring) for name in vars(base).get("__annotations__", ())}
    # Those of the connection last: they are the same everywhere.
    names = sorted((name for name in cls.model_fields if name in places), key=lambda name: places[name])
    entries = [
        fill(f"{name}: {_description(cls, name)}", 120, initial_indent=" " * 8, subsequent_indent=" " * 12)
        for name in names
        if cls.model_fields[name].description
    ]
    text, raises, end = (cls.__doc__ or "").rstrip().partition("\n    Raises:")
    return "\n".join([text.rstrip(), "", "    Args:", *entries, f"{raises}{end}", "    "])


def _description(cls: type[Connected], name: str) -> str:
    """Return a field's description; key and address name the environment variables that stand in for them."""
    provider = cls._provider
    variables = {"api_key": provider.api_key_env, "base_url": provider.base_url_env}.get(name, ())
    described = (cls.model_fields[name].description or "").replace(
        "the environment's, see the class", "the environment's"
    )
    return f"{described} Environment: {', then '.join(f'`{one}`' for one in variables)}." if variables else described
