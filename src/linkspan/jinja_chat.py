"""A user's own chat template in Jinja, rendered by Hugging Face's convention in a sandbox.

Source of the convention: the documentation of ``chat_template`` in Hugging Face's transformers. A template sees
``messages``, ``add_generation_prompt``, ``tools``, ``bos_token``, ``eos_token``, ``raise_exception``, ``strftime_now``
and what else is passed to it; ``tojson`` leaves text unescaped, and ``{% generation %}`` blocks are taken as their
content.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from linkspan.errors import ConfigurationError, UnsupportedContentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment, Template

__all__ = ["check_template", "control_tokens_in", "mentions", "render_template", "turn_ends_in"]

#: What tokens with a meaning look like: ``<|user|>`` (also with full-width bars), ``<start_of_turn>``, ``[INST]``,
#: ``<<SYS>>``, ``</s>``.
_CONTROL = re.compile(
    r"<\|[^|<>\s]{1,60}\|>|<\uff5c[^\uff5c<>\s]{1,60}\uff5c>"
    r"|</?(?:start|end)_of_[a-z_]+>|\[/?[A-Z][A-Z_]{2,}\]|<</?[A-Z]+>>|</?s>"
)

#: Tokens that end a turn in templates that do not say so by ``eos_token``.
_TURN_ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|end|>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<end_of_turn>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)


def control_tokens_in(source: str) -> tuple[str, ...]:
    """Return the texts in a template that look like tokens with a meaning to the model."""
    return tuple(dict.fromkeys(_CONTROL.findall(source)))


def turn_ends_in(source: str) -> tuple[str, ...]:
    """Return the known end tokens of turns that a template writes."""
    return tuple(token for token in _TURN_ENDS if token in source)


def mentions(source: str, word: str) -> bool:
    """Whether a template holds a word as a string of its own, as in ``message.role == 'tool'``."""
    return f"'{word}'" in source or f'"{word}"' in source


def check_template(source: str) -> None:
    """Compile a template.

    Raises:
        ConfigurationError: Jinja is not installed, or the template has a syntax error.
    """
    _compiled(source)


def render_template(source: str, variables: Mapping[str, Any]) -> str:
    """Render a template with these variables.

    Raises:
        ConfigurationError: Jinja is not installed, or the template has a syntax error.
        UnsupportedContentError: The template refuses the conversation, or fails on it.
    """
    template = _compiled(source)
    from jinja2 import TemplateError  # noqa: PLC0415  # installed: the template is compiled

    try:
        return template.render(**variables)
    except _RefusedError as error:
        raise UnsupportedContentError(f"The chat template refuses this conversation: {error}") from None
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise UnsupportedContentError(
            f"The chat template fails on this conversation ({type(error).__name__}: {error})."
        ) from error


class _RefusedError(Exception):
    """What a template raises by ``raise_exception``."""


@lru_cache(maxsize=32)
def _compiled(source: str) -> Template:
    environment = _environment()
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415  # installed: there is an environment

    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise ConfigurationError(
            f"The chat template is not valid Jinja (line {error.lineno}): {error.message}"
        ) from None


@lru_cache(maxsize=1)
def _environment() -> Environment:
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415  # only for those who use a template
    except ImportError:
        raise ConfigurationError(
            "A chat template in Jinja needs the package jinja2: install it, or "
            "linkspan[langchain] or linkspan[llama-index]. The templates that linkspan knows by name work without."
        ) from None
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # the output is a prompt, not HTML
        extensions=["jinja2.ext.loopcontrols", _generation_extension()],
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _generation_extension() -> Any:
    from jinja2 import nodes  # noqa: PLC0415  # only for those who use a template
    from jinja2.ext import Extension  # noqa: PLC0415

    class GenerationBlocks(Extension):
        """``{% generation %}`` marks what the model wrote, for training; a prompt has its content as it is."""

        tags = {"generation"}  # noqa: RUF012  # as the base class has it

        def parse(self, parser: Any) -> nodes.Node | list[nodes.Node]:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    return GenerationBlocks


def _to_json(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002, RUF100  # a filter's arguments may be positional
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002, RUF100
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise _RefusedError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)
