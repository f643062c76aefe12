"""Chat templates: chosen by the name of a model family, or given as Jinja source."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from linkspan.call_history import with_call_ids
from linkspan.errors import ConfigurationError
from linkspan.prompts.checked import render_checked, special_token_error
from linkspan.prompts.jinja import check_template, render_template
from linkspan.prompts.known import FAMILIES, Family, family_named, family_of_model
from linkspan.prompts.markers import can_be_broken_up, markers_of, tokens_in
from linkspan.prompts.structure import structure_of
from linkspan.prompts.turn_rules import check_content, check_described, check_turns, text_of
from linkspan.prompts.variables import messages_as_variables, texts_of_tools, tools_as_variables, unchanged
from linkspan.turns import name_as_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from linkspan.conversation import Message, Tool
    from linkspan.prompts.markers import Markers, Segment
    from linkspan.prompts.variables import Change

__all__ = ["ChatTemplate", "SpecialTokens", "chat_templates", "find_template", "guess_template"]

#: What to do with a message that contains one of the template's special tokens.
SpecialTokens = Literal["error", "escape", "keep"]

_POLICIES: tuple[SpecialTokens, ...] = ("error", "escape", "keep")
_SPOKEN = ("system", "user", "assistant")

#: Tokens that end a turn in templates that do not use ``eos_token`` for it.
_TURN_ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|end|>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<end_of_turn>",
    "<turn|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """A chat template: it writes a conversation as one prompt. Immutable, comparable, hashable, picklable.

    Create one with :meth:`named` or :meth:`from_jinja`.

    **Special tokens in messages.** A server interprets special tokens anywhere in a prompt. A user's text or a
    retrieved document that contains ``<|im_end|>`` could end its own turn and speak as the system, and a prompt API
    cannot tell the difference. linkspan finds the markers of turns (``<|im_end|>``, ``]~b]user``, ``USER:``) by
    rendering the template with a placeholder for every text. It then compares the real prompt with that rendering, so
    that the template cannot build a marker from a text either. ``special_tokens`` sets what happens to such a text, in
    every message and role, in names, ids and arguments of tool calls, and in tools: ``"error"`` (the default) refuses
    it and names message and token; ``"escape"`` inserts a space into the token, so that the model reads plain text;
    ``"keep"`` checks nothing and is for text that you wrote yourself.

    **First token.** Servers add the first token (BOS) to a prompt themselves, and a second one makes answers worse. So
    the rendered prompt starts without it unless ``leading_bos`` is set.

    Attributes:
        name: The template's name; by default ``"jinja"`` for one built from source.
        source: The Jinja source; ``None`` for a named template.
        bos_token: The model's first token.
        eos_token: The model's end token.
        stop: Texts that end a turn. They are sent as stop texts in addition to the caller's.
        control_tokens: Tokens that a message must not contain, in addition to those found by rendering.
        roles: The roles that the template supports.
        special_tokens: What to do with a message that contains a special token.
        leading_bos: Whether a prompt starts with ``bos_token``.
    """

    name: str
    source: str | None = None
    bos_token: str = ""
    eos_token: str = ""
    stop: tuple[str, ...] = ()
    control_tokens: tuple[str, ...] = ()
    roles: tuple[str, ...] = _SPOKEN
    special_tokens: SpecialTokens = "error"
    leading_bos: bool = False

    def __post_init__(self) -> None:
        if self.special_tokens not in _POLICIES:
            raise ConfigurationError(
                f"special_tokens must be one of {', '.join(map(repr, _POLICIES))}, not {self.special_tokens!r}."
            )
        for token in self.control_tokens:
            if not can_be_broken_up(token):
                raise ConfigurationError(
                    f"control_tokens contains {token!r}: a token must have two adjacent characters that are not "
                    "white space."
                )

    def __repr__(self) -> str:
        return f"ChatTemplate(name={self.name!r}, stop={self.stop!r}, special_tokens={self.special_tokens!r})"

    # ------------------------------------------------------------------ create

    @classmethod
    def named(cls, name: str, *, special_tokens: SpecialTokens = "error", leading_bos: bool = False) -> ChatTemplate:
        """Return a built-in template: one of :func:`chat_templates`, or an alias (``qwen``, ``llama-3.1``).

        ``llama-3`` also serves Llama 3.1 to 3.3, without the dates that their own template adds to the system turn.
        ``chatml`` also serves Qwen, without the system turn that Qwen 2.5's own template adds if there is none.
        ``mistral`` is the first format (7B v0.1 and v0.2, Mixtral 8x7B); later models need ``mistral-v3``,
        ``mistral-v3-tekken`` (Nemo), ``mistral-v7`` or ``mistral-v7-tekken`` (Small 3). For a model's exact template,
        use :meth:`from_jinja`.

        Raises:
            ConfigurationError: The name is unknown.
        """
        key, family = family_named(name)
        return cls(
            name=key,
            bos_token=family.bos,
            eos_token=family.eos,
            stop=family.stop,
            control_tokens=family.control_tokens,
            special_tokens=special_tokens,
            leading_bos=leading_bos,
        )

    @classmethod
    def from_jinja(
        cls,
        text: str,
        *,
        bos_token: str = "",
        eos_token: str = "",
        stop: Sequence[str] | None = None,
        control_tokens: Collection[str] | None = None,
        roles: Collection[str] | None = None,
        special_tokens: SpecialTokens = "error",
        leading_bos: bool = False,
        name: str = "jinja",
    ) -> ChatTemplate:
        """Build a template from Jinja source, such as the ``chat_template`` of a model's ``tokenizer_config.json``.

        Args:
            text: The Jinja source. It is rendered in a sandbox.
            bos_token: The model's first token, passed to the template.
            eos_token: The model's end token, passed to the template.
            stop: Texts that end a turn; by default ``eos_token`` and the well-known ones in the source.
            control_tokens: Tokens that a message must not contain, in addition to those found by rendering and those
                of the template's model family; by default ``bos_token``, ``eos_token``, ``stop`` and whatever looks
                like a token in the source (``<|…|>``, ``[INST]``, …).
            roles: The roles that the template supports; by default system, user, assistant, and ``tool`` and ``data``
                if the source names them.
            special_tokens: What to do with a message that contains a special token; see the class.
            leading_bos: Whether the prompt keeps ``bos_token`` at its start.
            name: The name to use in errors.

        Warns:
            UserWarning: No marker was found, so a message could forge a turn.

        Raises:
            ConfigurationError: The source is not valid Jinja, or jinja2 is not installed.
        """
        check_template(text)
        ends = tuple(token for token in _TURN_ENDS if token in text)
        if stop is None:
            stop = [token for token in (eos_token, *ends) if token]
        if control_tokens is None:
            likely = (*stop, *ends, bos_token, eos_token, *tokens_in(text))
            control_tokens = [token for token in likely if can_be_broken_up(token)]
        if roles is None:
            roles = [*_SPOKEN, *(role for role in ("tool", "data") if _mentions(text, role))]
        template = cls(
            name=name,
            source=text,
            bos_token=bos_token,
            eos_token=eos_token,
            stop=tuple(dict.fromkeys(stop)),
            control_tokens=tuple(dict.fromkeys(control_tokens)),
            roles=tuple(dict.fromkeys(roles)),
            special_tokens=special_tokens,
            leading_bos=leading_bos,
        )
        if special_tokens != "keep" and not template._markers():
            warnings.warn(
                f"Found no markers of turns in the chat template {name}: a message could forge a turn. Pass the "
                "model's special tokens (control_tokens), or special_tokens='keep' if you trust every text.",
                stacklevel=2,
            )
        return template

    # ------------------------------------------------------------------ use

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Tool] | None = None,
        send_reasoning: bool = False,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """Write a conversation as one prompt.

        Args:
            messages: The conversation. Texts of one message are joined by line breaks. A speaker's name is written
                before the text if the template does not write names itself. Reasoning of earlier turns is
                left out, as models expect, unless ``send_reasoning`` is set.
            add_generation_prompt: Whether to end with the start of the assistant's turn.
            tools: Tools to describe to the model, for templates from Jinja source that do so.
            send_reasoning: Pass reasoning of earlier turns to the template, as ``reasoning_content`` (source only).
            variables: Further variables for the template, such as ``enable_thinking`` (source only).

        Raises:
            UnsupportedContentError: The template cannot write a role, a part, or the order of the messages, or a text
                contains a special token. The error names the message by its number.
        """
        messages = with_call_ids(messages)
        if any(message.name for message in messages) and not self._writes_names():
            messages = [name_as_text(message) for message in messages]
        contents = [text_of(message, number, self.name, self.roles) for number, message in enumerate(messages)]
        if self.source is None:
            check_content(
                self.name, messages, has_tools=bool(tools), variables=variables, send_reasoning=send_reasoning
            )
            check_turns(FAMILIES[self.name], self.name, messages, add_generation_prompt=add_generation_prompt)
        else:
            check_described(self.source, self.name, messages, has_tools=bool(tools))
        described = self._described(tools) if tools else None

        def render(change: Change) -> str:
            written = messages_as_variables(messages, contents, change, send_reasoning=send_reasoning)
            return self._rendered(
                written, add_generation_prompt=add_generation_prompt, tools=described, variables=variables
            )

        if self.special_tokens == "keep":
            prompt = render(unchanged)
        else:
            prompt = render_checked(render, self._markers, name=self.name, policy=self.special_tokens)
        return prompt if self.leading_bos or not self._writes_bos else prompt.removeprefix(self.bos_token)

    def opens(self, tag: str) -> bool:
        """Whether the prompt of a question ends with an opening tag that the answer continues, such as ``<think>``."""
        if tag not in self._jinja:
            return False
        question = [{"role": "user", "content": "?"}]
        return self._rendered(question).rstrip().endswith(tag)

    # ------------------------------------------------------------------ helpers

    @property
    def _jinja(self) -> str:
        return Family.template(self.name) if self.source is None else self.source

    @property
    def _bos_for_template(self) -> str:
        # The built-in templates leave out a token that they are not given.
        return self.bos_token if self.source is not None or self.leading_bos else ""

    @property
    def _writes_bos(self) -> bool:
        # Some templates (SmolLM2) start every turn with that token and leave the prompt's first token to the server.
        source = self.source or ""
        return "bos_token" in source or source.lstrip().startswith(self.bos_token)

    def _writes_names(self) -> bool:
        # Many templates write the names of tools only, so the word in the source says little.
        named = [{"role": "user", "content": "?", "name": "Somebody"}]
        return "name" in self._jinja and "Somebody" in self._rendered(named)

    def _rendered(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        return render_template(
            self._jinja,
            {
                **(variables or {}),
                "messages": messages,
                "tools": tools,
                "add_generation_prompt": add_generation_prompt,
                "bos_token": self._bos_for_template,
                "eos_token": self.eos_token,
            },
        )

    def _markers(self, of_this_talk: frozenset[Segment] = frozenset()) -> Markers:
        segments, ends = structure_of(self._jinja, self._bos_for_template, self.eos_token, self.roles)
        # Rarely, a conversation has a turn that no sample conversation had.
        known = segments if of_this_talk <= segments else segments | of_this_talk
        return markers_of(known, ends, self.bos_token, self.control_tokens)

    def _described(self, tools: Sequence[Tool]) -> list[dict[str, Any]]:
        """Write tools for the template, with ``special_tokens`` applied to their texts."""
        if self.special_tokens == "keep":
            return tools_as_variables(tools, str)
        markers = self._markers()
        if self.special_tokens == "escape":
            return tools_as_variables(tools, markers.broken_up)
        for tool, text in texts_of_tools(tools):
            token = markers.first_in(text)
            if token is not None:
                raise special_token_error(f"The tool {tool!r}", token, self.name)
        return tools_as_variables(tools, str)


def chat_templates() -> list[str]:
    """Return the names of the built-in templates; for their aliases see :meth:`ChatTemplate.named`."""
    return sorted(FAMILIES)


def guess_template(model: str) -> ChatTemplate | None:
    """Return the template of a model by its name; ``None`` if the name is ambiguous or unknown.

    Recognizes the makers' names of instruction-tuned models, in any case, with or without the maker before a slash, as
    on Hugging Face and in LLM Engine: ``meta-llama/Meta-Llama-3-8B-Instruct``, ``llama-2-7b-chat``. Fine-tunes, base
    models and quantized copies under other names are not guessed, because many changed the format.
    """
    family = family_of_model(model)
    return None if family is None else ChatTemplate.named(family)


def find_template(template: ChatTemplate | str | None, model: str | None) -> ChatTemplate | None:
    """Return the given template, or else the one that belongs to the model's name.

    A text with a ``{`` is Jinja source, any other one the name of a template.

    Raises:
        ConfigurationError: The name is unknown, or the source is not valid Jinja.
    """
    if isinstance(template, ChatTemplate):
        return template
    if template is not None:
        return ChatTemplate.from_jinja(template) if "{" in template else ChatTemplate.named(template)
    return guess_template(model) if model else None


def _mentions(source: str, word: str) -> bool:
    """Whether a template contains a word as a string literal, as in ``message.role == 'tool'``."""
    return f"'{word}'" in source or f'"{word}"' in source
