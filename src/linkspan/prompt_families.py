"""The prompt formats that open model families were trained on, and how a conversation is written in one.

Sources: the formats that the models' makers publish with their tokenizers. What linkspan adds are checks: a
conversation that a format has no place for is refused, naming the message, where a model would be given a prompt
unlike any that it knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from linkspan.errors import UnsupportedContentError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ALIASES", "FAMILIES", "Family", "Turn", "render_family"]


@dataclass(frozen=True)
class Turn:
    """A message as far as a format sees it; ``place`` is its number in the conversation, for errors."""

    role: str
    text: str
    place: int


@dataclass(frozen=True, kw_only=True)
class Family:
    """A prompt format.

    Attributes:
        system: Text before and after a system turn, or before and after the system text inside a user turn.
        user: Text before and after a user turn.
        assistant: Text before and after an assistant turn.
        generation: What makes the model begin its turn.
        system_place: ``"turn"`` anywhere as a turn of its own, ``"first"`` only as the first turn, ``"first_user"`` or
            ``"last_user"`` inside that user turn.
        alternates: Whether user and assistant turns have to take turns, beginning and ending with the user.
        bos: The token that begins a text.
        bos_each_user: Whether it stands before every user turn.
        eos: The model's own end token.
        stop: Texts that end an assistant turn.
        control: Further texts with a meaning to the model, which a message must not contain by accident.
        stripped: Roles whose text loses white space at both ends.
        strips_merged: Whether it loses that after the system text has been merged in, not before.
        drops_thoughts: Whether an earlier answer loses what stands before ``</think>``.
    """

    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    generation: str = ""
    system_place: Literal["turn", "first", "first_user", "last_user"] = "turn"
    alternates: bool = False
    bos: str = ""
    bos_each_user: bool = False
    eos: str = ""
    stop: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    stripped: frozenset[str] = frozenset()
    strips_merged: bool = False
    drops_thoughts: bool = False

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """Every text that a message must not contain by accident."""
        return tuple(dict.fromkeys(token for token in (*self.stop, *self.control, self.bos, self.eos) if token))


def _tagged(head: str, tail: str, **fields: object) -> Family:
    """A format whose turns differ in the role's name only: ``head`` holds ``{}`` for it."""
    roles = {role: (head.format(role), tail) for role in ("system", "user", "assistant")}
    return Family(**roles, generation=roles["assistant"][0], **fields)  # type: ignore[arg-type]  # fields of Family


_BOTH = frozenset({"user", "assistant"})
_SPM: dict[str, object] = {"alternates": True, "bos": "<s>", "eos": "</s>", "stop": ("</s>",)}
_INST = ("[INST]", "[/INST]")
#: Later formats of Mistral's have turns of tools, which nobody may forge either.
_TOOL_TURNS = ("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")
_SYSTEM_PROMPT = ("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")


def _instruct(**fields: object) -> Family:
    return Family(**{**_SPM, "control": _INST, **fields})  # type: ignore[arg-type]  # fields of Family


#: The formats by name.
FAMILIES: dict[str, Family] = {
    "chatml": _tagged(
        "<|im_start|>{}\n", "<|im_end|>\n", stop=("<|im_end|>",), control=("<|im_start|>", "<|endoftext|>")
    ),
    "deepseek-r1": Family(
        system=("", ""),
        user=("<\uff5cUser\uff5c>", ""),
        assistant=("<\uff5cAssistant\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
        generation="<\uff5cAssistant\uff5c><think>\n",
        system_place="first",
        bos="<\uff5cbegin\u2581of\u2581sentence\uff5c>",
        eos="<\uff5cend\u2581of\u2581sentence\uff5c>",
        stop=("<\uff5cend\u2581of\u2581sentence\uff5c>",),
        control=(
            "<\uff5cUser\uff5c>",
            "<\uff5cAssistant\uff5c>",
            "<\uff5ctool\u2581calls\u2581begin\uff5c>",
            "<\uff5ctool\u2581outputs\u2581begin\uff5c>",
            "<\uff5ctool\u2581output\u2581begin\uff5c>",
        ),
        drops_thoughts=True,
    ),
    "gemma": Family(
        system=("", "\n\n"),
        user=("<start_of_turn>user\n", "<end_of_turn>\n"),
        assistant=("<start_of_turn>model\n", "<end_of_turn>\n"),
        generation="<start_of_turn>model\n",
        system_place="first_user",
        alternates=True,
        bos="<bos>",
        eos="<eos>",
        stop=("<end_of_turn>",),
        control=("<start_of_turn>",),
        stripped=_BOTH,
    ),
    "llama-2": _instruct(
        system=("<<SYS>>\n", "\n<</SYS>>\n\n"),
        user=("[INST] ", " [/INST]"),
        assistant=(" ", " </s>"),
        system_place="first_user",
        bos_each_user=True,
        control=(*_INST, "<<SYS>>", "<</SYS>>"),
        stripped=_BOTH,
        strips_merged=True,
    ),
    "llama-3": _tagged(
        "<|start_header_id|>{}<|end_header_id|>\n\n",
        "<|eot_id|>",
        bos="<|begin_of_text|>",
        eos="<|end_of_text|>",
        stop=("<|eot_id|>",),
        control=("<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|python_tag|>"),
        stripped=frozenset({"system", "user", "assistant"}),
    ),
    "mistral-v1": _instruct(
        system=("", "\n\n"), user=(" [INST] ", " [/INST]"), assistant=(" ", "</s>"), system_place="first_user"
    ),
    "mistral-v3": _instruct(
        system=("", "\n\n"),
        user=("[INST] ", "[/INST]"),
        assistant=(" ", "</s>"),
        system_place="last_user",
        control=(*_INST, *_TOOL_TURNS),
        stripped=frozenset({"assistant"}),
    ),
    "mistral-v3-tekken": _instruct(
        system=("", "\n\n"),
        user=("[INST]", "[/INST]"),
        assistant=("", "</s>"),
        system_place="last_user",
        control=(*_INST, *_TOOL_TURNS),
    ),
    "mistral-v7": _instruct(
        system=("[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"),
        user=("[INST] ", "[/INST]"),
        assistant=(" ", "</s>"),
        system_place="turn",
        control=(*_INST, *_SYSTEM_PROMPT, *_TOOL_TURNS),
    ),
    "mistral-v7-tekken": _instruct(
        system=("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
        user=("[INST]", "[/INST]"),
        assistant=("", "</s>"),
        system_place="turn",
        control=(*_INST, *_SYSTEM_PROMPT, *_TOOL_TURNS),
    ),
    "openchat": Family(
        system=("GPT4 Correct System: ", "<|end_of_turn|>"),
        user=("GPT4 Correct User: ", "<|end_of_turn|>"),
        assistant=("GPT4 Correct Assistant: ", "<|end_of_turn|>"),
        generation="GPT4 Correct Assistant:",
        bos="<s>",
        eos="<|end_of_turn|>",
        stop=("<|end_of_turn|>",),
        control=("</s>",),
    ),
    "phi-3": _tagged(
        "<|{}|>\n",
        "<|end|>\n",
        bos="<s>",
        eos="<|endoftext|>",
        stop=("<|end|>",),
        control=("<|system|>", "<|user|>", "<|assistant|>"),
    ),
    "phi-4": _tagged(
        "<|im_start|>{}<|im_sep|>",
        "<|im_end|>",
        eos="<|endoftext|>",
        stop=("<|im_end|>",),
        control=("<|im_start|>", "<|im_sep|>"),
    ),
    "phi-4-mini": _tagged(
        "<|{}|>",
        "<|end|>",
        eos="<|endoftext|>",
        stop=("<|end|>",),
        control=("<|system|>", "<|user|>", "<|assistant|>"),
    ),
    "vicuna": Family(
        system=("", " "),
        user=("USER: ", " "),
        assistant=("ASSISTANT: ", "</s>"),
        generation="ASSISTANT:",
        system_place="first",
        alternates=True,
        bos="<s>",
        eos="</s>",
        stop=("</s>",),
    ),
    "zephyr": _tagged(
        "<|{}|>\n",
        "</s>\n",
        bos="<s>",
        eos="</s>",
        stop=("</s>",),
        control=("<|system|>", "<|user|>", "<|assistant|>"),
    ),
}

#: Other names of the same formats. Where a maker changed the format, the bare name is its first one.
ALIASES: dict[str, str] = {
    "codellama": "llama-2",
    "deepseek-r1-distill": "deepseek-r1",
    "gemma-2": "gemma",
    "gemma-3": "gemma",
    "hermes": "chatml",
    "llama-3.1": "llama-3",
    "llama-3.2": "llama-3",
    "llama-3.3": "llama-3",
    "llama2": "llama-2",
    "llama3": "llama-3",
    "mistral": "mistral-v1",
    "mistral-nemo": "mistral-v3-tekken",
    "mixtral": "mistral-v1",
    "phi3": "phi-3",
    "phi-3.5": "phi-3",
    "phi4": "phi-4",
    "qwen": "chatml",
    "qwen-2": "chatml",
    "qwen-2.5": "chatml",
    "qwen-3": "chatml",
    "qwen2": "chatml",
    "qwen2.5": "chatml",
    "qwen3": "chatml",
    "smollm": "chatml",
    "tinyllama": "zephyr",
    "yi": "chatml",
}


def render_family(
    family: Family, name: str, turns: Sequence[Turn], *, add_generation_prompt: bool, leading_bos: bool
) -> str:
    """Write a conversation in a format.

    Args:
        family: The format.
        name: Its name, for errors.
        turns: The conversation, of system, user and assistant turns.
        add_generation_prompt: Whether the model is to begin its turn now.
        leading_bos: Whether the text begins with the format's first token, which most servers add themselves.

    Raises:
        UnsupportedContentError: The format has no place for such a conversation.
    """
    system, spoken = _split_system(family, name, turns)
    if family.alternates:
        _check_alternation(name, spoken, add_generation_prompt=add_generation_prompt)
    if not family.strips_merged:
        spoken = _tidied(family, spoken)
    if system is not None:
        spoken = _merge_system(family, name, system, spoken)
    if family.strips_merged:
        spoken = _tidied(family, spoken)
    pieces = [] if family.bos_each_user and spoken and spoken[0].role == "user" else [family.bos]
    for turn in spoken:
        if turn.role == "user" and family.bos_each_user:
            pieces.append(family.bos)
        before, after = getattr(family, turn.role)
        pieces += (before, turn.text, after)
    if add_generation_prompt:
        pieces.append(family.generation)
    text = "".join(pieces)
    if leading_bos or not family.bos:
        return text
    # The tokenizers of the formats with a space after the first token put one at the start of a text themselves.
    spare = family.bos + (" " if family.user[0].startswith(" ") else "")
    return text.removeprefix(spare if text.startswith(spare) else family.bos)


def _split_system(family: Family, name: str, turns: Sequence[Turn]) -> tuple[Turn | None, list[Turn]]:
    """Check where system turns stand, and part off the one that has to be merged into a user turn."""
    if not turns:
        raise UnsupportedContentError(f"The chat template {name} needs at least one message.")
    if family.system_place == "turn":
        return None, list(turns)
    late = next((turn for turn in turns[1:] if turn.role == "system"), None)
    if late is not None:
        raise UnsupportedContentError(
            f"The chat template {name} takes one system message, as the first message; message {late.place} is another "
            "one. Join them, or send the later one as a user message."
        )
    if turns[0].role == "system" and family.system_place != "first":
        return turns[0], list(turns[1:])
    return None, list(turns)


def _check_alternation(name: str, spoken: Sequence[Turn], *, add_generation_prompt: bool) -> None:
    wanted = "user"
    for turn in spoken:
        if turn.role == "system":
            continue
        if turn.role != wanted:
            raise UnsupportedContentError(
                f"The chat template {name} wants user and assistant messages in turn, the first from the user: message "
                f"{turn.place} is from the {turn.role}, where the {wanted} is due. Join messages of the same side, or "
                "choose a template without that rule (chatml, llama-3)."
            )
        wanted = "assistant" if wanted == "user" else "user"
    if add_generation_prompt and wanted == "user":
        place = f"message {spoken[-1].place} is from the {spoken[-1].role}" if spoken else "there is none"
        raise UnsupportedContentError(
            f"The chat template {name} answers a user message, so the last one has to be one; {place}."
        )


def _merge_system(family: Family, name: str, system: Turn, spoken: Sequence[Turn]) -> list[Turn]:
    places = [place for place, turn in enumerate(spoken) if turn.role == "user"]
    if not places:
        raise UnsupportedContentError(
            f"The chat template {name} has no system turn; the system message (message {system.place}) goes into a "
            "user message, and there is none."
        )
    place = places[0] if family.system_place == "first_user" else places[-1]
    before, after = family.system
    turn = spoken[place]
    merged = Turn(turn.role, f"{before}{system.text}{after}{turn.text}", turn.place)
    return [*spoken[:place], merged, *spoken[place + 1 :]]


def _tidied(family: Family, turns: Sequence[Turn]) -> list[Turn]:
    return [Turn(turn.role, _tidied_text(family, turn), turn.place) for turn in turns]


def _tidied_text(family: Family, turn: Turn) -> str:
    text = turn.text
    if family.drops_thoughts and turn.role == "assistant":
        text = text.rpartition("</think>")[2]
    return text.strip() if turn.role in family.stripped else text
