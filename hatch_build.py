"""What the distribution says of itself beside pyproject.toml: the README with links that work elsewhere, and addresses.

The README's links lead into the repository. On a package index they need the repository's address, which stands once in
pyproject.toml, under ``[tool.hatch.metadata.hooks.custom]``. While it is empty, the links become their bare texts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#|mailto:)([^)\s]+)\)")


class CustomMetadataHook(MetadataHookInterface):
    """Fills in ``readme`` and ``urls``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the fields that depend on the repository's address."""
        repository = str(self.config.get("repository", "")).rstrip("/")
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": with_links(text, repository)}
        if repository:
            metadata["urls"] = {
                "Repository": repository,
                "Documentation": f"{repository}/blob/main/docs/index.md",
                "Changelog": f"{repository}/blob/main/CHANGELOG.md",
                "Issues": f"{repository}/issues",
            }


def with_links(text: str, repository: str) -> str:
    """Return Markdown whose links into the repository lead there from anywhere, or are their bare texts."""
    if not repository:
        return _LINK.sub(r"\1", text)
    return _LINK.sub(lambda link: f"[{link[1]}]({repository}/blob/main/{link[2]})", text)
