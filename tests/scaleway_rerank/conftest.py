"""The loopback server and the clean environment of the embeddings' tests: the same server ranks."""

from tests.scaleway_embeddings.conftest import KEY, MODEL, _no_environment, server, settings

__all__ = ["KEY", "MODEL", "_no_environment", "server", "settings"]
