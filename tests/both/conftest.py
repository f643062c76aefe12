"""A server for each test."""

from __future__ import annotations

import pytest

from tests.both.subjects import Server


@pytest.fixture
def server() -> Server:
    return Server()
