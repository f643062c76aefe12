"""Find the server's model for calls that name none: read its list once and keep it with the endpoint."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakMethod

from linkspan.conversation import ChatRequest
from linkspan.endpoint import Endpoint
from linkspan.errors import ConfigurationError, LinkspanError, NotFoundError
from linkspan.locks import ForkSafeLock
from linkspan.owned_generator import OwnedGenerator
from linkspan.routes.models import alist_models, list_models

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence

    from linkspan.assembler import Assembler
    from linkspan.conversation import Completion, Delta, PromptRequest
    from linkspan.providers.chat_completions.models import ListedModel

__all__ = ["ServedModelEndpoint"]

#: Verda's gateway lists this name if it has no model for a key.
_NO_MODELS = "no-default-models"
_ASKED = "The call names no model, so linkspan read the server's list"


class ServedModelEndpoint(Endpoint[Any]):
    """An endpoint that fills in the server's only model for calls without one.

    The first such call reads the list (``GET /v1/models``), unless :meth:`store_models` provided it. Failures are not
    kept: the next call tries again.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._models: Sequence[ListedModel] | None = None
        self._lock = ForkSafeLock()
        self._async_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._listener: WeakMethod[Callable[[], None]] | None = None

    # ------------------------------------------------------------------ what is known of the server

    def on_models(self, listener: Callable[[], None]) -> None:
        """Call a method whenever a list was read. Held weakly: the method's object holds this endpoint."""
        self._listener = WeakMethod(listener)

    def store_models(self, models: Sequence[ListedModel]) -> None:
        """Keep the server's list."""
        self._models = models
        listener = self._listener() if self._listener is not None else None
        if listener is not None:
            listener()

    def served(self, model: str | None) -> ListedModel | None:
        """Return the list's entry for a model, or for the only one; ``None`` without a list or entry."""
        models = self._models or ()
        if model is not None:
            return next((listed for listed in models if listed.id == model), None)
        candidates = _candidates(models)
        return candidates[0] if len(candidates) == 1 else None

    # ------------------------------------------------------------------ the calls

    def complete(self, request: Any, *, timeout: float | None = None) -> Completion:
        """Send a request and return the whole answer; see the base class."""
        return super().complete(self._with_model(request, timeout), timeout=timeout)

    async def acomplete(self, request: Any, *, timeout: float | None = None) -> Completion:
        """Send a request and return the whole answer; see the base class."""
        return await super().acomplete(await self._awith_model(request, timeout), timeout=timeout)

    def batches(
        self, request: Any, assembler: Assembler, *, timeout: float | None = None
    ) -> Generator[Sequence[Delta], None, None]:
        """Stream an answer; see the base class."""
        return super().batches(self._with_model(request, timeout), assembler, timeout=timeout)

    async def abatches(
        self, request: Any, assembler: Assembler, *, timeout: float | None = None
    ) -> AsyncGenerator[Sequence[Delta], None]:
        """Stream an answer; see the base class."""
        named = await self._awith_model(request, timeout)
        async with OwnedGenerator(super().abatches(named, assembler, timeout=timeout)) as batches:
            async for deltas in batches:
                yield deltas

    # ------------------------------------------------------------------ the model of a call

    def _with_model(self, request: Any, timeout: float | None) -> Any:
        if self._has_to_ask(request):
            with self._lock:
                if self._models is None:
                    try:
                        self.store_models(list_models(self, timeout=timeout))
                    except LinkspanError as error:
                        raise _explained(error) from None
        return self._named(request)

    async def _awith_model(self, request: Any, timeout: float | None) -> Any:
        if self._has_to_ask(request):
            async with self._async_locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
                if self._models is None:
                    try:
                        self.store_models(await alist_models(self, timeout=timeout))
                    except LinkspanError as error:
                        raise _explained(error) from None
        return self._named(request)

    def _has_to_ask(self, request: ChatRequest | PromptRequest) -> bool:
        if self._models is not None or _model_of(request) is not None:
            return False
        # A request that cannot be sent fails before the network.
        self._http_request(request, stream=False, timeout=None)
        return True

    def _named(self, request: Any) -> Any:
        """Return the request with its model's name, and the origin of that model according to the list."""
        model = _model_of(request)
        served = self.served(model)
        if model is None:
            if served is None:
                raise _undecided(self._models or (), self.codec.provider)
            request = replace(request, model=served.id)
        if served is not None and served.origin is not None and isinstance(request, ChatRequest):
            request = replace(request, model_origin=served.origin)
        return request


def _model_of(request: ChatRequest | PromptRequest) -> str | None:
    return request.model or request.extra_body.get("model")


def _candidates(models: Sequence[ListedModel]) -> list[ListedModel]:
    """Return the models that a call may mean; adapters only if there are no others."""
    named = [model for model in models if model.id != _NO_MODELS]
    return [model for model in named if not model.is_adapter] or named


def _undecided(models: Sequence[ListedModel], provider: str) -> ConfigurationError:
    names = [model.id for model in _candidates(models)]
    if not names:
        return ConfigurationError(f"{_ASKED}, which is empty. Set model.", provider=provider)
    shown = ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return ConfigurationError(f"{_ASKED}, which has several. Set model to one of {shown}.", provider=provider)


def _explained(error: LinkspanError) -> LinkspanError:
    if isinstance(error, NotFoundError):
        return error.with_hint(f"{_ASKED} (GET /v1/models), which does not exist. Set model.")
    return error.with_hint(f"({_ASKED}: GET /v1/models.)")
