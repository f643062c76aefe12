"""The loopback server of the embeddings' tests: the same server ranks."""

from tests.scaleway_embeddings.conftest import KEY, MODEL, server, settings

__all__ = ["KEY", "MODEL", "server", "settings"]
