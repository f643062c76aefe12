"""Shared by both suites: the server, an engine that counts concurrent calls, and a callback recorder."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ModelError

from linkspan.conversation import Delta, Usage
from linkspan_sandbox import run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from linkspan_sandbox import Call, Piece, Sandbox

__all__ = ["KEY", "Listener", "MeetingEngine", "Suite"]

#: The key that the suites pass to a class; they check that it does not leak.
KEY = "conformance-key-0123456789abcdef"


class Suite:
    """A scripted server for each test."""

    #: Arguments for :func:`linkspan_sandbox.run`.
    sandbox_settings: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def running(cls) -> Iterator[Sandbox]:
        """The server, shared by all tests."""
        with run(**cls.sandbox_settings) as sandbox:
            yield sandbox

    @pytest.fixture
    def server(self, running: Sandbox) -> Sandbox:
        """The server, without rules or requests of earlier tests."""
        running.reset()
        return running

    def address(self, server: Sandbox) -> dict[str, Any]:
        """Return the arguments that point the class to a server: its URL and a key."""
        raise NotImplementedError(f"{type(self).__name__} must override address")

    @property
    def error_class(self) -> type[Exception]:
        """The error class that failed calls must raise; other than core's class, any error passes."""
        return ModelError

    def check_error(self, error: Exception, *, retryable: bool) -> None:
        """Check the attributes that middleware reads."""
        if issubclass(self.error_class, ModelError):
            assert getattr(error, "is_retryable", None) is retryable


class MeetingEngine:
    """Echoes prompts once the expected number of calls has arrived, or no more arrive in time.

    Args:
        expected: Number of concurrent calls to wait for.
        patience: Seconds to wait for the others.
    """

    name = "meeting"
    served_model: str | None = None
    context_window: int | None = None

    def __init__(self, expected: int, patience: float = 10) -> None:
        self.most = 0
        self._expected = expected
        self._patience = patience
        self._here = 0
        self._met: asyncio.Event | None = None

    async def start(self) -> None:
        """Create the event in the server's loop."""
        self._met = asyncio.Event()

    async def stop(self) -> None:
        """Nothing to release."""

    async def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        """Wait for the others and answer."""
        assert self._met is not None
        self._here += 1
        self.most = max(self.most, self._here)
        if self._here >= self._expected:
            self._met.set()
        try:
            await asyncio.wait_for(self._met.wait(), self._patience)
        except (TimeoutError, asyncio.TimeoutError):
            # The others did not arrive; ``most`` records how many did.
            pass
        finally:
            self._here -= 1
        yield Delta(text=call.prompt or call.last_user_text)
        yield Delta(finish_reason="stop", usage=Usage(1, 1, 2))


class Listener(BaseCallbackHandler):
    """Records the callbacks of completion models."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.tokens: list[str] = []
        self.chunks: list[Any] = []
        self.ended: list[Any] = []
        self.failed: list[BaseException] = []

    def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], **_: Any) -> None:  # noqa: ARG002  # core's signature
        """Keep the prompts."""
        self.started += prompts

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        """Record the token and its chunk."""
        self.tokens.append(token)
        self.chunks.append(chunk)

    def on_llm_end(self, response: Any, **_: Any) -> None:
        """Keep the result."""
        self.ended.append(response)

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        """Keep the error."""
        self.failed.append(error)
