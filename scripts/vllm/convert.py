"""Convert a GGUF file into folders that vLLM loads. Runs in vLLM's environment, not in the project's.

``python convert.py WEIGHTS.gguf FOLDER`` makes ``FOLDER/model``, and ``FOLDER/thinking-tokenizer`` for the same model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

#: Reasoning parsers need single tokens, which SmolLM2 lacks. It imitates these tokens well, unlike its unused special
#: tokens.
THINKING = {"***": "<think>", "###": "</think>"}


def main(weights: Path, folder: Path) -> None:
    """Unpack the weights and save them with their tokenizer; save the reasoning tokenizer."""
    source = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    unpacked = AutoModelForCausalLM.from_pretrained(
        **source, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    # A model loaded from GGUF cannot be saved, even unpacked, so its weights are copied into a plain model.
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(**source), dtype=torch.float32)
    model.load_state_dict(unpacked.state_dict())
    model.save_pretrained(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(**source)
    tokenizer.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "thinking-tokenizer")
    rename_tokens(folder / "thinking-tokenizer" / "tokenizer.json", THINKING)


def rename_tokens(path: Path, names: dict[str, str]) -> None:
    """Rename tokens of the vocabulary, as whole tokens that are never split."""
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    model = tokenizer["model"]
    for old, new in names.items():
        number = model["vocab"].pop(old)
        model["vocab"][new] = number
        # Remove merges into and from the old text.
        model["merges"] = [pair for pair in model["merges"] if old not in pair and "".join(pair) != old]
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
        tokenizer["added_tokens"].append({"id": number, "content": new, **flags})
    tokenizer["added_tokens"].sort(key=lambda token: token["id"])
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
