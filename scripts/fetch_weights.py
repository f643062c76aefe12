"""Fetch the weights of the local engine, if they are not on this machine. The Makefile runs it before the tests."""

from __future__ import annotations

import sys

from linkspan.commands import console
from linkspan.errors import LinkspanError

try:
    console.ensure_weights()
except LinkspanError as error:
    sys.exit(f"weights: {error}")
