"""Fields of pydantic classes, and checks of names and values against them in constructors, changes and calls alike."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from inspect import cleandoc
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from inspect import Signature

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from linkspan.connection import Connected

__all__ = [
    "SignatureOnDemand",
    "by_field_name",
    "check_value",
    "documented",
    "near_match",
    "refuse_unknown",
    "sent_if_set",
    "takes_none",
    "validation_problems",
]


def sent_if_set(description: str, **rules: Any) -> Any:
    """Return the field of a parameter that is not sent unless it is set; ``rules`` are pydantic's, such as ``gt=0``."""
    return Field(default=None, description=f"{description} Not sent unless set.", **rules)


def near_match(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a hint at the most similar known name; ``""`` if none is similar."""
    close = get_close_matches(name, sorted(known), n=1, cutoff=cutoff)
    return f" Did you mean {close[0]!r}?" if close else ""


def by_field_name(cls: type[Connected], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by field name, with aliases resolved.

    Raises:
        ConfigurationError: An argument is passed under two names.
    """
    values = dict(values)
    for alias in cls.argument_aliases.keys() & values.keys():
        name, value = cls.argument_aliases[alias], values.pop(alias)
        if name in values:
            raise ConfigurationError(
                f"{name} and {alias} are two names for one argument: pass one.", provider=cls._provider.name
            )
        values[name] = value
    return values


def refuse_unknown(cls: type[Connected], names: Iterable[str]) -> None:
    """Refuse arguments that are not fields of a class.

    Raises:
        ConfigurationError: An argument is unknown.
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
                f"{cls.__name__} has no argument {name!r}.{near_match(name, known)} Pass other parameters of the API "
                f"in {cls.further_parameters}.",
                provider=cls._provider.name,
            )


def check_value(cls: type[Connected], name: str, value: Any) -> Any:
    """Validate a value for a field. ``None`` means the default, unless the field allows ``None``.

    Raises:
        ConfigurationError: The field does not accept the value.
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
    """Whether ``None`` must be validated like other values: only if it is the field's default."""
    return field.is_required() or field.default is None


@cache
def _adapter(cls: type[Connected], name: str) -> TypeAdapter[Any] | None:
    """Return the validator of one of linkspan's fields; frameworks check their own."""
    declares = next((base for base in cls.__mro__ if name in vars(base).get("__annotations__", ())), None)
    if declares is None or not _is_ours(declares):
        return None
    field = cls.model_fields[name]
    annotation: Any = field.annotation
    if field.metadata:
        parts = (annotation, *field.metadata)
        annotation = cast("Any", Annotated)[parts]
    return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True, hide_input_in_errors=True))


def _is_ours(base: type) -> bool:
    """Whether linkspan, or a user's subclass, declares the fields of a class; parameter mixins have no connection."""
    return hasattr(base, "argument_aliases") or base.__module__.partition(".")[0] == "linkspan"


def validation_problems(error: ValidationError, field: str | None = None) -> str:
    """Return the validation errors by field, without the values, because a value may be a misplaced key."""
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        place = ".".join(map(str, (field, *detail["loc"]) if field else detail["loc"])) or "arguments"
        problems.append(f"{place}: {detail['msg'].removeprefix('Value error, ')}")
    return "; ".join(problems)


class SignatureOnDemand:
    """The signature of a class whose building pydantic defers (``defer_build``): reading it builds the class.

    Without it, such a class inherits the signature of a base, for ``inspect.signature``, ``help`` and notebooks.
    """

    def __get__(self, instance: object, owner: type[BaseModel]) -> Signature:
        """Build the class, which sets its signature, and return that."""
        if instance is None and owner.model_rebuild() and vars(owner)["__signature__"] is not self:
            return owner.__signature__
        raise AttributeError("__signature__")


def documented(cls: type[Connected]) -> str:
    """Return a class's docstring with an entry for each of linkspan's fields, for ``help`` and the docs."""
    declaring = [base for base in cls.__mro__ if _is_ours(base)]
    places = {name: place for place, base in enumerate(declaring) for name in vars(base).get("__annotations__", ())}
    # Connection fields last, because they are the same everywhere.
    names = sorted((name for name in cls.model_fields if name in places), key=lambda name: places[name])
    entries = [
        fill(f"{name}: {_description(cls, name)}", 120, initial_indent=" " * 4, subsequent_indent=" " * 8)
        for name in names
        if cls.model_fields[name].description
    ]
    # Python strips the indentation of docstrings from 3.13 on, but not before.
    text, raises, end = cleandoc(cls.__doc__ or "").partition("\nRaises:")
    return "\n".join([text.rstrip(), "", "Args:", *entries, f"{raises}{end}", ""])


def _description(cls: type[Connected], name: str) -> str:
    """Return a field's description; key and address include their environment variables."""
    provider = cls._provider
    variables = {"api_key": provider.api_key_env, "base_url": provider.base_url_env}.get(name, ())
    described = (cls.model_fields[name].description or "").replace("; see the class", "")
    return f"{described} Environment: {', then '.join(f'`{one}`' for one in variables)}." if variables else described
