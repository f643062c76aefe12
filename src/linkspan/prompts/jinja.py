"""Render chat templates by Hugging Face's convention, in Jinja's immutable sandbox and with bounded work.

Source of the convention: the documentation of ``chat_template`` in Hugging Face's transformers. A template sees
``messages``, ``add_generation_prompt``, ``tools``, ``bos_token``, ``eos_token``, ``raise_exception``, ``strftime_now``
and further variables. ``tojson`` does not escape text, and ``{% generation %}`` blocks render their content.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn, cast

from linkspan.errors import ConfigurationError, UnsupportedContentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment, Template, nodes

__all__ = ["check_template", "render_template"]

#: Most loop rounds of one rendering, over all its loops. A macro call costs several, because it takes longer. A
#: conversation of 1,000 messages takes a few thousand.
_MOST_STEPS = 1_000_000
_STEPS_OF_A_CALL = 20
#: Longest text or list that ``*`` may build, and longest number, in bits, that ``**`` may.
_MOST_REPEATED = 10_000_000

_steps_left: ContextVar[int] = ContextVar("linkspan_template_steps")


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
        UnsupportedContentError: The template refuses the conversation, fails on it, or takes too much time or memory.
    """
    template = _compiled(source)
    token = _steps_left.set(_MOST_STEPS)
    try:
        return template.render(**variables)
    except _RefusedError as error:
        raise UnsupportedContentError(f"The chat template refuses this conversation: {error}") from None
    except (RecursionError, MemoryError) as error:
        # Their tracebacks are long and keep the oversized objects alive.
        raise UnsupportedContentError(
            f"The chat template takes too much memory for this conversation ({type(error).__name__})."
        ) from None
    except Exception as error:
        # A template's expressions may raise anything.
        raise UnsupportedContentError(
            f"The chat template fails on this conversation ({type(error).__name__}: {error})."
        ) from error
    finally:
        _steps_left.reset(token)


def count_steps(rounds: Any = None) -> Any:
    """Count a loop's rounds before it runs, or a macro call. ``_counting_steps`` compiles the calls into templates.

    Raises:
        RuntimeError: The rendering takes too many steps.
    """
    left = _steps_left.get()
    if rounds is None:
        left -= _STEPS_OF_A_CALL
    else:
        if not hasattr(rounds, "__len__"):
            rounds = list(islice(rounds, left + 1))
        left -= 1 + len(rounds)
    if left < 0:
        raise RuntimeError(f"its loops and macros take more than {_MOST_STEPS:,} steps")
    _steps_left.set(left)
    return rounds


class _RefusedError(Exception):
    """Raised when a template calls ``raise_exception``."""


@lru_cache(maxsize=64)
def _compiled(source: str) -> Template:
    environment = _environment()
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415  # installed: there is an environment

    try:
        template = _counting_steps(environment.parse(source))
        template.set_environment(environment)
        return environment.from_string(template)
    except TemplateSyntaxError as error:
        raise ConfigurationError(
            f"The chat template is not valid Jinja (line {error.lineno}): {error.message}"
        ) from None
    except SyntaxError as error:  # Python's own: a ``{% break %}`` outside a loop
        raise ConfigurationError(f"The chat template is not valid Jinja: {error.msg}") from None
    except (RecursionError, MemoryError) as error:
        raise ConfigurationError(
            f"The chat template is nested too deeply to compile ({type(error).__name__})."
        ) from None
    except Exception as error:
        # Jinja evaluates constant expressions while compiling, and they may raise anything.
        raise ConfigurationError(f"The chat template cannot be compiled ({type(error).__name__}: {error}).") from error


def _counting_steps(template: nodes.Template) -> nodes.Template:
    """Make every loop and macro call ``count_steps``."""
    from jinja2 import nodes  # noqa: PLC0415  # only for those who use a template

    def counting(line: int, *arguments: nodes.Expr) -> nodes.Call:
        return nodes.Call(nodes.ImportedName(f"{__name__}.count_steps"), [*arguments], [], None, None, lineno=line)

    for loop in template.find_all(nodes.For):
        loop.iter = counting(loop.lineno, cast("nodes.Expr", loop.iter))
        if loop.recursive:
            loop.body.insert(0, nodes.ExprStmt(counting(loop.lineno), lineno=loop.lineno))
    for macro in template.find_all((nodes.Macro, nodes.CallBlock)):
        cast("nodes.Macro", macro).body.insert(0, nodes.ExprStmt(counting(macro.lineno), lineno=macro.lineno))
    return template


@lru_cache(maxsize=1)
def _environment() -> Environment:
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415  # only for those who use a template
    except ImportError:
        raise ConfigurationError(
            "Chat templates need the package jinja2: install it, or linkspan[langchain] or linkspan[llama-index]."
        ) from None

    class BoundedEnvironment(ImmutableSandboxedEnvironment):
        """A sandbox that refuses single operations with huge results."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "*":
                for many, one in ((left, right), (right, left)):
                    if isinstance(many, (str, list, tuple)) and isinstance(one, int):
                        _check_size(len(many) * one)
            elif isinstance(left, int) and isinstance(right, int):
                _check_size(left.bit_length() * right)
            return super().call_binop(context, operator, left, right)

    environment = BoundedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # the output is a prompt, not HTML
        extensions=["jinja2.ext.loopcontrols", _generation_extension()],
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _check_size(size: int) -> None:
    if size > _MOST_REPEATED:
        raise MemoryError


def _generation_extension() -> Any:
    from jinja2 import nodes  # noqa: PLC0415  # only for those who use a template
    from jinja2.ext import Extension  # noqa: PLC0415

    class GenerationBlocks(Extension):
        """``{% generation %}`` marks the model's output for training; a prompt keeps the content unchanged."""

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
