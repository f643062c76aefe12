"""The words of errors: all on one page, and in plain English."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

from tests.docs.pages import ROOT

#: What reads like a translation: "is none that is known", "cannot be had", "is no number", "without a word".
STILTED = re.compile(
    r"(?<!there )\b(is|are) (none\b|no (?!longer\b|such\b))|\bnone of (the )?[A-Z]|\bcannot be had\b|of one's own|"
    r"without a word|on the quiet"
)


def hook() -> Any:
    spec = importlib.util.spec_from_file_location("error_messages", ROOT / "scripts" / "error_messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_holds_every_message() -> None:
    shown = hook().on_page_markdown((ROOT / "docs" / "error_messages.md").read_text("utf-8"))
    assert shown.count("\n- **") > 300
    # One in a raise, one of a helper, one in a table.
    for text in ("needs a key: give api_key", "TGI gives one answer per call", "temperature=0 means greedy decoding."):
        assert text in shown


def test_no_message_is_stilted() -> None:
    stilted = [
        f"{module}: {text}" for module, found in hook().by_module().items() for _, text in found if STILTED.search(text)
    ]
    assert stilted == []
