"""Model families: their tokens, turn rules, aliases, and the model names that belong to them.

Each family's template is ``templates/<family>.jinja``. Source: the formats that the makers publish with their
tokenizers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["FAMILIES", "Family", "family_named", "family_of_model", "tokens_of_same_families"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A prompt format.

    Attributes:
        stop: Texts that end an assistant turn.
        control: Further control tokens of the model, including those of tool turns.
        bos: The token that begins a text.
        eos: The model's own end token.
        system: Where a system message is allowed: ``"turn"`` anywhere, as its own turn; ``"first"`` as the first turn;
            ``"merged"`` as the first message, which the template merges into a user turn.
        alternates: Whether user and assistant messages must alternate, starting and ending with the user.
    """

    stop: tuple[str, ...]
    control: tuple[str, ...]
    bos: str = ""
    eos: str = ""
    system: Literal["turn", "first", "merged"] = "turn"
    alternates: bool = False

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """All tokens that a message must not contain."""
        return tuple(dict.fromkeys(token for token in (*self.stop, *self.control, self.bos, self.eos) if token))

    @staticmethod
    @cache
    def template(name: str) -> str:
        """Return the Jinja text of a family."""
        return files(__package__).joinpath("templates").joinpath(f"{name}.jinja").read_text(encoding="utf-8")


def _mistral(*control: str, system: Literal["turn", "merged"]) -> Family:
    return Family(
        stop=("</s>",),
        control=("[INST]", "[/INST]", *control),
        bos="<s>",
        eos="</s>",
        system=system,
        alternates=True,
    )


_CALLS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
_ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
_MISTRAL_TOOLS = ("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")
_MISTRAL_V7 = ("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", *_MISTRAL_TOOLS, "[TOOL_CONTENT]", "[ARGS]", "[CALL_ID]")
_MISTRAL_V7_PARTS = ("[IMG]", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[THINK]", "[/THINK]")

#: The formats by name.
FAMILIES: dict[str, Family] = {
    # Hermes on Mistral also uses this format; its tokenizer keeps Mistral's first and last token.
    "chatml": Family(stop=("<|im_end|>",), control=("<|im_start|>", "<|endoftext|>", "<s>", "</s>", *_CALLS)),
    "deepseek-r1": Family(
        stop=("<\uff5cend\u2581of\u2581sentence\uff5c>",),
        control=(
            "<\uff5cUser\uff5c>",
            "<\uff5cAssistant\uff5c>",
            *(
                f"<\uff5ctool\u2581{what}\u2581{edge}\uff5c>"
                for what in ("calls", "call", "outputs", "output")
                for edge in ("begin", "end")
            ),
            "<\uff5ctool\u2581sep\uff5c>",
        ),
        bos="<\uff5cbegin\u2581of\u2581sentence\uff5c>",
        eos="<\uff5cend\u2581of\u2581sentence\uff5c>",
        system="first",
    ),
    "gemma": Family(
        stop=("<end_of_turn>",),
        control=("<start_of_turn>", "<start_of_image>", "<end_of_image>"),
        bos="<bos>",
        eos="<eos>",
        system="merged",
        alternates=True,
    ),
    "llama-2": _mistral("<<SYS>>", "<</SYS>>", system="merged"),
    "llama-3": Family(
        stop=("<|eot_id|>",),
        control=("<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|python_tag|>"),
        bos="<|begin_of_text|>",
        eos="<|end_of_text|>",
    ),
    "mistral-v1": _mistral(system="merged"),
    "mistral-v3": _mistral(*_MISTRAL_TOOLS, system="merged"),
    "mistral-v3-tekken": _mistral(*_MISTRAL_TOOLS, system="merged"),
    "mistral-v7": _mistral(*_MISTRAL_V7, *_MISTRAL_V7_PARTS, system="turn"),
    "mistral-v7-tekken": _mistral(*_MISTRAL_V7, *_MISTRAL_V7_PARTS, system="turn"),
    "openchat": Family(stop=("<|end_of_turn|>",), control=("</s>",), bos="<s>", eos="<|end_of_turn|>"),
    "phi-3": Family(stop=("<|end|>",), control=_ROLES, bos="<s>", eos="<|endoftext|>"),
    "phi-4": Family(stop=("<|im_end|>",), control=("<|im_start|>", "<|im_sep|>"), eos="<|endoftext|>"),
    "phi-4-mini": Family(
        stop=("<|end|>",),
        control=(*_ROLES, "<|tool|>", "<|/tool|>", "<|tool_call|>", "<|/tool_call|>", "<|tool_response|>"),
        eos="<|endoftext|>",
    ),
    "vicuna": Family(stop=("</s>",), control=(), bos="<s>", eos="</s>", system="first", alternates=True),
    "zephyr": Family(stop=("</s>",), control=_ROLES, bos="<s>", eos="</s>"),
}

#: Aliases. Where a maker changed the format, the bare name means the first one.
_ALIASES: dict[str, str] = {
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

_SIZE = r"\d+(?:\.\d+)?b"
_DATE = r"(?:-\d{4})?"

#: Full model names in lower case, without the maker. Alternatives are spelled out where a wider pattern would match
#: other models. Compiled at the first guess, not at import.
_MODELS: tuple[tuple[str, str], ...] = (
    (r"deepseek-r1(?:-0528)?|deepseek-r1-distill-(?:qwen|llama)-" + _SIZE, "deepseek-r1"),
    (r"llama-2-" + _SIZE + r"-chat(?:-hf)?", "llama-2"),
    # The 70b model uses another format.
    (r"codellama-(?:7|13|34)b-instruct(?:-hf)?", "llama-2"),
    (r"(?:meta-)?llama-3(?:[.-][123])?-" + _SIZE + r"(?:-vision)?-instruct", "llama-3"),
    (r"mistral-7b-instruct(?:-v0\.[12])?|mixtral-8x7b-instruct(?:-v0\.1)?", "mistral-v1"),
    (r"mistral-7b-instruct-v0\.3|mixtral-8x22b-instruct(?:-v0\.1)?", "mistral-v3"),
    (r"mistral-nemo-instruct-2407|ministral-8b-instruct-2410", "mistral-v3-tekken"),
    (r"mistral-large-instruct-2411", "mistral-v7"),
    (r"mistral-small-24b-instruct-2501|mistral-small-3\.[12]-24b-instruct-\d{4}", "mistral-v7-tekken"),
    (r"gemma(?:-1\.1|-2|-3|-3n)?-(?:e?" + _SIZE + r"|270m)-(?:it|instruct)", "gemma"),
    (r"phi-3(?:\.5)?-(?:mini|small|medium)(?:-(?:4|8|128)k)?-instruct", "phi-3"),
    (r"phi-4-mini-instruct", "phi-4-mini"),
    (r"phi-4", "phi-4"),
    (r"qwen1\.5-" + _SIZE + r"-chat|qwen2(?:\.5)?(?:-coder|-math)?-" + _SIZE + r"-instruct", "chatml"),
    (r"qwen3-" + _SIZE + r"(?:-a" + _SIZE + r"(?:-instruct" + _DATE + r")?)?|qwen3-4b-instruct-2507", "chatml"),
    (r"yi(?:-1\.5)?-(?:6|9|34)b-chat", "chatml"),
    (r"smollm2?-(?:" + _SIZE + r"|\d+m)-instruct", "chatml"),
    (r"openhermes-2\.5-mistral-7b|nous-hermes-2-mistral-7b-dpo|hermes-2-pro-mistral-7b", "chatml"),
    (r"zephyr-7b-(?:alpha|beta)|tinyllama-1\.1b-chat-v(?:0\.[5-9]|1\.0)", "zephyr"),
    (r"openchat-3\.5(?:-0106|-1210)?|openchat_3\.5", "openchat"),
    (r"vicuna-(?:7|13|33)b(?:-v1\.[1-5])?", "vicuna"),
)


def family_named(name: str) -> tuple[str, Family]:
    """Return a family, by its name or an alias, with its canonical name.

    Raises:
        ConfigurationError: The name is unknown.
    """
    key = _normalized(name)
    key = _ALIASES.get(key, key)
    if key in FAMILIES:
        return key, FAMILIES[key]
    near = get_close_matches(key, [*FAMILIES, *_ALIASES], n=3, cutoff=0.6)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ConfigurationError(
        f"Unknown chat template {name!r}.{meant} Known are {', '.join(sorted(FAMILIES))}; for a template of your own "
        "use ChatTemplate.from_jinja."
    )


def _normalized(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def family_of_model(model: str) -> str | None:
    """Return the family of a model by its name; ``None`` if the name is ambiguous or unknown."""
    name = model.strip().lower().rsplit("/", 1)[-1]
    return next((family for pattern, family in _MODELS if re.fullmatch(pattern, name)), None)


#: Tokens that too many families share to identify one.
_COMMON = frozenset({"<s>", "</s>", "<bos>", "<eos>", "<|endoftext|>", "<|end|>"})


def tokens_of_same_families(tokens: Collection[str]) -> tuple[str, ...]:
    """Return the control tokens of every known family that uses one of these tokens."""
    telling = set(tokens) - _COMMON
    families = [family for family in FAMILIES.values() if telling.intersection(family.control_tokens)]
    return tuple(dict.fromkeys(token for family in families for token in family.control_tokens))
