"""Chat templates: by the name of a model family, or a model's own in Jinja."""

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
from linkspan.prompts.turns import check_content, check_described, check_turns, text_of
from linkspan.prompts.variables import messages_as_variables, texts_of_tools, tools_as_variables

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from linkspan.conversation import Message, Tool
    from linkspan.prompts.markers import Markers, Segment
    from linkspan.prompts.variables import Change, Place

__all__ = ["ChatTemplate", "SpecialTokens", "chat_templates", "find_template", "guess_template"]

#: What becomes of a message that contains one of the template's special tokens.
SpecialTokens = Literal["error", "escape", "keep"]

_POLICIES: tuple[SpecialTokens, ...] = ("error", "escape", "keep")
_SPOKEN = ("system", "user", "assistant")

#: Tokens that end a turn in templates that do not say so by ``eos_token``.
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
    """A chat template: how a conversation becomes one prompt. Immutable, comparable, hashable, picklable.

    Make one with :meth:`named` or :meth:`from_jinja`.

    **Special tokens in messages.** A server reads special tokens wherever they stand in a prompt, so a user's text, or
    a retrieved document, with ``<|im_end|>`` in it could end its own turn and speak as the system. A prompt API cannot
    tell the two apart; only the template can. What begins and ends its turns is found by rendering it with
    placeholders for every text, whatever it looks like (``<|im_end|>``, ``]~b]user``, ``USER:``), and the rendered
    prompt is compared with the one of placeholders, so that nothing can arise from what the template does to a text.
    ``special_tokens`` says what becomes of such a text, in every message and role, in names, ids and arguments of tool
    calls, and in tools: ``"error"`` (the default) refuses it, naming message and token; ``"escape"`` puts a space into
    the token, so that it is read as plain text; ``"keep"`` checks nothing, for text that you wrote yourself.

    **First token.** Servers' tokenizers put the first token (BOS) before a prompt themselves; two of them make answers
    worse. So the rendered prompt begins without one unless ``leading_bos`` is set.

    Attributes:
        name: The template's name; ``"jinja"`` for one's own, unless it was given another.
        source: The Jinja text, ``None`` for a template by name.
        bos_token: The token that begins a text.
        eos_token: The model's end token.
        stop: Texts that end a turn. They are sent as stop texts beside the user's.
        control_tokens: Tokens that a message must not contain, beside those found by rendering, see above.
        roles: The roles that the template has a place for.
        special_tokens: What becomes of a message that contains a special token.
        leading_bos: Whether a prompt begins with ``bos_token``.
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
                f"special_tokens={self.special_tokens!r} is none of {', '.join(map(repr, _POLICIES))}."
            )
        for token in self.control_tokens:
            if not can_be_broken_up(token):
                raise ConfigurationError(
                    f"control_tokens holds {token!r}: a token needs two characters in turn that are not white space."
                )

    def __repr__(self) -> str:
        return f"ChatTemplate(name={self.name!r}, stop={self.stop!r}, special_tokens={self.special_tokens!r})"

    # ------------------------------------------------------------------ making one

    @classmethod
    def named(cls, name: str, *, special_tokens: SpecialTokens = "error", leading_bos: bool = False) -> ChatTemplate:
        """Return a template that linkspan knows: one of :func:`chat_templates`, or an alias (``qwen``, ``llama-3.1``).

        ``llama-3`` is also for Llama 3.1 to 3.3, without the dates that their own template puts into the system turn.
        ``chatml`` is also for Qwen, without the system turn that Qwen 2.5's own template adds where there is none.
        ``mistral`` is the first format (7B v0.1 and v0.2, Mixtral 8x7B); later models need ``mistral-v3``,
        ``mistral-v3-tekken`` (Nemo), ``mistral-v7`` or ``mistral-v7-tekken`` (Small 3). For a model's own template to
        the letter, use :meth:`from_jinja`.

        Raises:
            ConfigurationError: There is no such template.
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
        """Return a template of one's own: the ``chat_template`` of a model's ``tokenizer_config.json``.

        Args:
            text: The template in Jinja. It is rendered in a sandbox.
            bos_token: The model's first token, as the template is to see it.
            eos_token: The model's end token.
            stop: Texts that end a turn; by default ``eos_token`` and the well-known ones that the template writes.
            control_tokens: Tokens that a message must not contain, beside those that are found by rendering and those
                of a model family that the template belongs to; by default ``bos_token``, ``eos_token``, ``stop`` and
                what in the template looks like a token (``<|…|>``, ``[INST]``, …).
            roles: The roles that the template has a place for; by default system, user, assistant, and ``tool`` and
                ``data`` if the template names them.
            special_tokens: What becomes of a message that contains a special token, see the class.
            leading_bos: Whether the prompt keeps ``bos_token`` at its start.
            name: For errors.

        Warns:
            UserWarning: Nothing marks the template's turns, so a message could forge one.

        Raises:
            ConfigurationError: The template is no valid Jinja, or jinja2 is not installed.
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
                f"Nothing was found that marks the turns of the chat template {name}: a message could pose as another "
                "turn. Name the model's special tokens (control_tokens), or say that every text is to be trusted "
                "(special_tokens='keep').",
                stacklevel=2,
            )
        return template

    # ------------------------------------------------------------------ using it

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
            messages: The conversation. Texts of one message are joined by line breaks. Reasoning of earlier turns is
                left out, as models are trained, unless ``send_reasoning`` is set.
            add_generation_prompt: Whether the model is to begin its turn now.
            tools: Tools for a Jinja template that describes them to the model.
            send_reasoning: Give reasoning of earlier turns to a Jinja template, as ``reasoning_content``.
            variables: Further variables for a Jinja template, such as ``enable_thinking``.

        Raises:
            UnsupportedContentError: A role, a part, a special token or an order of messages that the template has no
                place for; the message is named by its number.
        """
        messages = with_call_ids(messages)
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
            prompt = render(_unchanged)
        else:
            prompt = render_checked(render, self._markers, name=self.name, policy=self.special_tokens)
        return prompt if self.leading_bos or not self._writes_bos else prompt.removeprefix(self.bos_token)

    def opens(self, tag: str, variables: Mapping[str, Any] | None = None) -> bool:
        """Whether a prompt ends with a tag that the answer then goes on in, as ``<think>`` of reasoning models.

        The template is rendered for it, with these ``variables`` and a conversation of one question.
        """
        if tag not in self._jinja:
            return False
        question = [{"role": "user", "content": "?"}]
        return self._rendered(question, variables=variables).rstrip().endswith(tag)

    # ------------------------------------------------------------------ parts of it

    @property
    def _jinja(self) -> str:
        return Family.template(self.name) if self.source is None else self.source

    @property
    def _bos_for_template(self) -> str:
        # The templates of the families leave out what they are not given.
        return self.bos_token if self.source is not None or self.leading_bos else ""

    @property
    def _writes_bos(self) -> bool:
        # Some models begin every turn with that token (SmolLM2), in a template that leaves the first one to the server.
        source = self.source or ""
        return "bos_token" in source or source.lstrip().startswith(self.bos_token)

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
        # Few talks hold a turn that the template was not tried with.
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
    """Return the names of the templates that linkspan knows; some have aliases, see :meth:`ChatTemplate.named`."""
    return sorted(FAMILIES)


def guess_template(model: str) -> ChatTemplate | None:
    """Return the template of a model by its name, ``None`` unless the name leaves no doubt.

    Known are the makers' own names of instruction-tuned models, with or without the maker before a slash, in any case,
    as Hugging Face and LLM Engine write them: ``meta-llama/Meta-Llama-3-8B-Instruct``, ``llama-2-7b-chat``. Fine-tunes,
    base models and quantized copies under other names are not guessed: many changed the format.
    """
    family = family_of_model(model)
    return None if family is None else ChatTemplate.named(family)


def find_template(template: ChatTemplate | str | None, model: str | None) -> ChatTemplate | None:
    """Return the template that is meant: the one given, or the one of the model by its name.

    Args:
        template: A template, the name of one, or the text of one in Jinja (which has a ``{`` in it).
        model: The model's name, looked at where there is no template.

    Raises:
        ConfigurationError: There is no template of this name, or the text is no valid Jinja.
    """
    if isinstance(template, ChatTemplate):
        return template
    if template is not None:
        return ChatTemplate.from_jinja(template) if "{" in template else ChatTemplate.named(template)
    return guess_template(model) if model else None


def _mentions(source: str, word: str) -> bool:
    """Whether a template holds a word as a string of its own, as in ``message.role == 'tool'``."""
    return f"'{word}'" in source or f'"{word}"' in source


def _unchanged(text: str, _: Place) -> str:
    return text
