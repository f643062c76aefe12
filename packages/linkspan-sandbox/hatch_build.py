"""Give the sandbox linkspan's version and require exactly that version, whose API descriptions it uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class CustomMetadataHook(MetadataHookInterface):
    """Sets ``version`` and ``dependencies``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the fields that follow linkspan's version. In a source distribution, PKG-INFO already has them."""
        if "version" in metadata and "dependencies" in metadata:
            return
        client = (Path(self.root).parents[1] / "pyproject.toml").read_text("utf-8")
        found = re.search(r'^version = "([^"]+)"$', client, flags=re.MULTILINE)
        if found is None:
            raise ValueError("linkspan's pyproject.toml states no version")
        metadata["version"] = found[1]
        metadata["dependencies"] = [f"linkspan[cli]=={found[1]}", *self.config["dependencies"]]
