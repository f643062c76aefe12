"""Which prompt format a model's name stands for, where the name leaves no doubt."""

from __future__ import annotations

import re

__all__ = ["family_of_model"]

_SIZE = r"\d+(?:\.\d+)?b"
_DATE = r"(?:-\d{4})?"

#: Whole names, lower case, without the maker. An alternative is written out where a wider pattern would catch others.
#: Compiled with the first guess, not with the import.
_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"deepseek-r1(?:-0528)?|deepseek-r1-distill-(?:qwen|llama)-" + _SIZE, "deepseek-r1"),
    (r"llama-2-" + _SIZE + r"-chat(?:-hf)?", "llama-2"),
    # The 70b one alone has another format.
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


def family_of_model(model: str) -> str | None:
    """Return the name of a model's format, ``None`` if the name leaves a doubt."""
    name = model.strip().lower().rsplit("/", 1)[-1]
    return next((family for pattern, family in _PATTERNS if re.fullmatch(pattern, name)), None)
