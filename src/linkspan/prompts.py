"""Chat for models behind an API that takes one prompt: a conversation written as the model was trained to read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from linkspan.call_history import object_text, with_call_ids
from linkspan.conversation import Reasoning, Text, UnknownPart
from linkspan.errors import ConfigurationError, UnsupportedContentError
from linkspan.jinja_chat import check_template, control_tokens_in, mentions, render_template, turn_ends_in
from linkspan.prompt_families import ALIASES, FAMILIES, Turn, render_family
from linkspan.prompt_guess import family_of_model

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from linkspan.conversation import Message, Tool

__all__ = ["ChatTemplate", "SpecialTokens", "chat_templates", "find_template", "guess_template"]

#: What becomes of a message that contains one of the template's special tokens.
SpecialTokens = Literal["error", "escape", "keep"]

_POLICIES: tuple[SpecialTokens, ...] = ("error", "escape", "keep")
_SPOKEN = ("system", "user", "assistant")


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """A chat template: how a conversation becomes one prompt. Immutable, comparable, hashable, picklable.

    Make one with :meth:`named` or :meth:`from_jinja`.

    **Special tokens in messages.** A server reads special tokens wherever they stand in a prompt, so a user's text, or
    a retrieved document, with ``<|im_end|>`` in it could end its own turn and speak as the system. A prompt API cannot
    tell the two apart; only the template can. ``special_tokens`` says what it does, for every message and role:
    ``"error"`` (the default) refuses the message, naming it and the token; ``"escape"`` puts a space after the token's
    first character, so that it is read as plain text; ``"keep"`` lets it pass, for text that you wrote yourself.
    Templates whose turns begin with plain words (``vicuna``'s ``USER:``) cannot be protected beyond their tokens.

    **First token.** Servers' tokenizers put the first token (BOS) before a prompt themselves; two of them make answers
    worse. So the rendered prompt begins without one unless ``leading_bos`` is set.

    Attributes:
        name: The template's name; ``"jinja"`` for one's own, unless it was given another.
        source: The Jinja text, ``None`` for a template by name.
        bos_token: The token that begins a text.
        eos_token: The model's end token.
        stop: Texts that end a turn. They are sent as stop texts beside the user's.
        control_tokens: Texts that a message must not contain, see above.
        roles: The roles that the template has a place for.
        special_tokens: What becomes of a message that contains one of ``control_tokens``.
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
            if not _can_be_broken_up(token):
                raise ConfigurationError(
                    f"control_tokens holds {token!r}: one needs at least two characters, of which the first two are no "
                    "white space."
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
        key = _normalized(name)
        key = ALIASES.get(key, key)
        family = FAMILIES.get(key)
        if family is None:
            raise _unknown_name(name)
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
            control_tokens: Texts that a message must not contain; by default ``bos_token``, ``eos_token``, ``stop`` and
                what in the template looks like a special token (``<|…|>``, ``[INST]``, …).
            roles: The roles that the template has a place for; by default system, user, assistant, and ``tool`` and
                ``data`` if the template names them.
            special_tokens: What becomes of a message that contains one of ``control_tokens``, see the class.
            leading_bos: Whether the prompt keeps ``bos_token`` at its start.
            name: For errors.

        Raises:
            ConfigurationError: The template is no valid Jinja, or jinja2 is not installed.
        """
        check_template(text)
        ends = turn_ends_in(text)
        if stop is None:
            stop = [token for token in (eos_token, *ends) if token]
        if control_tokens is None:
            likely = (*stop, *ends, bos_token, eos_token, *control_tokens_in(text))
            control_tokens = [token for token in likely if _can_be_broken_up(token)]
        if roles is None:
            roles = [*_SPOKEN, *(role for role in ("tool", "data") if mentions(text, role))]
        return cls(
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
            tools: Tools for a Jinja template that describes them to the model. Their descriptions are taken for the
                caller's own words: special tokens in them are not looked for.
            send_reasoning: Give reasoning of earlier turns to a Jinja template, as ``reasoning_content``.
            variables: Further variables for a Jinja template, such as ``enable_thinking``.

        Raises:
            UnsupportedContentError: A role, a part, a special token or an order of messages that the template has no
                place for; the message is named by its number.
        """
        messages = with_call_ids(messages)
        texts = [self._text_of(message, place) for place, message in enumerate(messages)]
        if self.source is None:
            self._check_named(messages, has_tools=bool(tools), variables=variables, send_reasoning=send_reasoning)
            return self._render_named(messages, texts, add_generation_prompt=add_generation_prompt)
        if tools and "tools" not in self.source:
            raise UnsupportedContentError(f"The chat template {self.name} does not describe tools to the model.")
        prompt = render_template(
            self.source,
            {
                **(variables or {}),
                "messages": [
                    self._as_variable(message, text, place, send_reasoning=send_reasoning)
                    for place, (message, text) in enumerate(zip(messages, texts, strict=True))
                ],
                "tools": [_tool_as_variable(tool) for tool in tools] if tools else None,
                "add_generation_prompt": add_generation_prompt,
                "bos_token": self.bos_token,
                "eos_token": self.eos_token,
            },
        )
        return prompt if self.leading_bos or not self._writes_bos else prompt.removeprefix(self.bos_token)

    def opens(self, tag: str, variables: Mapping[str, Any] | None = None) -> bool:
        """Whether a prompt ends with a tag that the answer then goes on in, as ``<think>`` of reasoning models.

        A Jinja template is rendered for it, with these ``variables`` and a conversation of one question.
        """
        if self.source is None:
            return FAMILIES[self.name].generation.rstrip().endswith(tag)
        if tag not in self.source:
            return False
        probe = render_template(
            self.source,
            {
                **(variables or {}),
                "messages": [{"role": "user", "content": "?"}],
                "tools": None,
                "add_generation_prompt": True,
                "bos_token": self.bos_token,
                "eos_token": self.eos_token,
            },
        )
        return probe.rstrip().endswith(tag)

    @property
    def _writes_bos(self) -> bool:
        # Some models begin every turn with that token (SmolLM2), in a template that leaves the first one to the server.
        source = self.source or ""
        return "bos_token" in source or source.lstrip().startswith(self.bos_token)

    def _check_named(
        self,
        messages: Sequence[Message],
        *,
        has_tools: bool,
        variables: Mapping[str, Any] | None,
        send_reasoning: bool,
    ) -> None:
        def refused(what: str) -> UnsupportedContentError:
            return UnsupportedContentError(
                f"The chat template {self.name} has no place for {what}. Use the model's own template "
                "(ChatTemplate.from_jinja), or a chat API."
            )

        if has_tools:
            raise refused("tools")
        if variables:
            raise refused(f"variables ({', '.join(variables)})")
        for place, message in enumerate(messages):
            if message.tool_calls:
                raise refused(f"tool calls (message {place})")
            if send_reasoning and any(isinstance(part, Reasoning) for part in message.parts):
                raise refused(f"earlier reasoning (message {place})")

    def _render_named(self, messages: Sequence[Message], texts: Sequence[str], *, add_generation_prompt: bool) -> str:
        return render_family(
            FAMILIES[self.name],
            self.name,
            [
                Turn(message.role, text, place)
                for place, (message, text) in enumerate(zip(messages, texts, strict=True))
            ],
            add_generation_prompt=add_generation_prompt,
            leading_bos=self.leading_bos,
        )

    def _text_of(self, message: Message, place: int) -> str:
        if message.role not in self.roles:
            raise self._no_such_role(message, place)
        texts = []
        for part in message.parts:
            if isinstance(part, Reasoning):
                continue
            if not isinstance(part, Text):
                kind = part.kind if isinstance(part, UnknownPart) else type(part).__name__.lower()
                raise UnsupportedContentError(
                    f"A prompt is text: message {place} ({message.role}) holds a part of type {kind!r}. Leave it out, "
                    "or use a chat API."
                )
            texts.append(part.text)
        text = "\n".join(texts)
        if message.is_error and "error" not in text[:40].lower():
            text = f"Error: {text}"
        return self._checked(text, message.role, place)

    def _checked(self, text: str, role: str, place: int) -> str:
        """Apply ``special_tokens`` to a text."""
        if self.special_tokens == "keep":
            return text
        found = [token for token in self.control_tokens if token in text]
        if not found:
            return text
        if self.special_tokens == "error":
            raise UnsupportedContentError(
                f"Message {place} ({role}) contains {found[0]!r}, a special token of the chat template {self.name}: "
                "the model could not tell it from the end or beginning of a turn. Clean the text, or choose "
                "special_tokens='escape' (it is broken up) or 'keep' (only for text that you trust)."
            )
        while found:  # breaking one up may leave another that overlapped with it
            for token in found:
                text = text.replace(token, f"{token[0]} {token[1:]}")
            found = [token for token in self.control_tokens if token in text]
        return text

    def _as_variable(self, message: Message, text: str, place: int, *, send_reasoning: bool) -> dict[str, Any]:
        """Write a message as Hugging Face's templates expect it."""

        def checked(value: str) -> str:
            return self._checked(value, message.role, place)

        variable: dict[str, Any] = {"role": message.role, "content": text}
        if message.name is not None:
            variable["name"] = checked(message.name)
        if message.tool_call_id is not None:
            variable["tool_call_id"] = checked(message.tool_call_id)
        if message.tool_calls:
            if "tool_calls" not in (self.source or ""):
                raise UnsupportedContentError(
                    f"The chat template {self.name} has no place for tool calls (message {place})."
                )
            variable["tool_calls"] = [
                {
                    "id": None if call.id is None else checked(call.id),
                    "type": "function",
                    "function": {"name": checked(call.name), "arguments": _arguments(call.arguments, checked)},
                }
                for call in message.tool_calls
            ]
        thoughts = [part.text for part in message.parts if isinstance(part, Reasoning)]
        if thoughts and send_reasoning:
            variable["reasoning_content"] = checked("".join(thoughts))
        return variable

    def _no_such_role(self, message: Message, place: int) -> UnsupportedContentError:
        way_out = {
            "data": "Untrusted text is never sent as another role on the quiet: pass data_role='fenced' to have it "
            "rendered as a marked user turn, or use an API with the role (Gray Swan).",
            "tool": "Use the model's own template (ChatTemplate.from_jinja) if that has the role, or a chat API.",
        }.get(message.role, f"It has {', '.join(self.roles)}.")
        return UnsupportedContentError(
            f"The chat template {self.name} has no role {message.role!r} (message {place}). {way_out}"
        )


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


def _normalized(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _unknown_name(name: str) -> ConfigurationError:
    near = get_close_matches(_normalized(name), [*FAMILIES, *ALIASES], n=3, cutoff=0.6)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return ConfigurationError(
        f"There is no chat template {name!r}.{meant} Known are {', '.join(chat_templates())}; a template of your own "
        "goes through ChatTemplate.from_jinja."
    )


def _arguments(text: str, checked: Callable[[str], str]) -> Any:
    """Read a tool call's arguments as templates expect them: as an object."""
    # Checked after reading: an escape in the JSON text would hide a token.
    return _checked_value(json.loads(object_text(text)), checked)


def _checked_value(value: Any, checked: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return checked(value)
    if isinstance(value, dict):
        return {checked(key): _checked_value(item, checked) for key, item in value.items()}
    return [_checked_value(item, checked) for item in value] if isinstance(value, list) else value


def _can_be_broken_up(token: str) -> bool:
    """Whether a space after the first character changes a token, and can make no new one."""
    return len(token) > 1 and not token[0].isspace() and not token[1].isspace()


def _tool_as_variable(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}
