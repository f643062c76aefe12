"""Hold the pieces of a model's streamed answer back inside an agent."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers._streaming import _StreamingCallbackHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["streams_held"]


@contextmanager
def streams_held() -> Iterator[None]:
    """Trace the calls in this block, but do not stream their pieces.

    The model takes its callbacks from this context variable. Handlers that stream pieces are left out; the answer still
    reaches the stream as its node's result.

    Core's base class of those handlers is private, but nothing else tells a handler that shows pieces to a user from a
    tracer, which must keep hearing of the call. tests/cygnal/test_langchain_middleware.py fails if one gets through.
    """
    config = var_child_runnable_config.get()
    callbacks = config.get("callbacks") if config else None
    if config is None or not isinstance(callbacks, BaseCallbackManager):
        yield
        return
    quiet = callbacks.copy()
    for handler in callbacks.handlers:
        if isinstance(handler, _StreamingCallbackHandler):
            quiet.remove_handler(handler)
    token = var_child_runnable_config.set({**config, "callbacks": quiet})
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)
