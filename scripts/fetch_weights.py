"""Download the local engine's weights if they are missing. The Makefile runs it before the tests."""

from __future__ import annotations

import sys

from linkspan.errors import LinkspanError
from linkspan_sandbox.commands.weights import ensure_weights

try:
    ensure_weights()
except LinkspanError as error:
    sys.exit(f"weights: {error}")
