"""Find how a template writes turns: render sample conversations with placeholders, once per template."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from linkspan.errors import UnsupportedContentError
from linkspan.prompts.checked import Placeholders
from linkspan.prompts.jinja import render_template
from linkspan.prompts.variables import Place

if TYPE_CHECKING:
    from linkspan.prompts.markers import Segment

__all__ = ["structure_of"]

_TALKS = (
    ("system", "user", "assistant", "user"),
    ("user", "assistant", "user"),
    ("user", "assistant"),
    ("system", "user"),
    ("user",),
)


@lru_cache(maxsize=64)
def structure_of(
    source: str, bos_token: str, eos_token: str, roles: tuple[str, ...]
) -> tuple[frozenset[Segment], frozenset[str]]:
    """Return the template's text between messages, and its text after the last one without a generation prompt.

    Sample conversations that the template refuses are skipped; both sets are empty if it refuses all of them.
    """
    segments: set[Segment] = set()
    ends: set[str] = set()
    talks: list[tuple[str, ...]] = [talk for talk in _TALKS if set(talk) <= set(roles)]
    talks += [("user", role) for role in roles if role not in {"system", "user", "assistant"}]
    if "tool" in roles:
        talks += [("user", "call", "tool"), ("user", "call", "tool", "assistant", "user")]
    for talk in talks:
        for goes_on in (True, False):
            placeholders = Placeholders()
            try:
                skeleton = render_template(
                    source,
                    {
                        "messages": [_turn(number, role, placeholders) for number, role in enumerate(talk)],
                        "tools": None,
                        "add_generation_prompt": goes_on,
                        "bos_token": bos_token,
                        "eos_token": eos_token,
                    },
                )
            except UnsupportedContentError:
                continue
            segments |= placeholders.segments(skeleton)
            if not goes_on:
                ends.add(placeholders.after_last(skeleton))
    return frozenset(segments), frozenset(ends)


def _turn(number: int, role: str, placeholders: Placeholders) -> dict[str, Any]:
    def put(text: str, kind: Any) -> str:
        return placeholders.put(text, Place(number, role, kind))

    if role == "call":
        function = {"name": put("weather", "other"), "arguments": {put("city", "other"): put("Paris", "other")}}
        call = {"id": put("abcdef123", "id"), "type": "function", "function": function}
        return {"role": "assistant", "content": "", "tool_calls": [call]}
    turn = {"role": role, "content": put("text", "content")}
    if role == "tool":
        turn["tool_call_id"] = put("abcdef123", "id")
    return turn
