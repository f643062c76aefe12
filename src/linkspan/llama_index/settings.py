"""What every LLM class here shares whatever it speaks: its settings, its construction, and its connection's life."""

from __future__ import annotations

import contextlib
import copy
import difflib
import pickle
import threading
from collections.abc import Mapping  # noqa: TC003  # pydantic reads the annotations at run time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

from llama_index.core.schema import BaseComponent
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, ValidationError

from linkspan.endpoint import Endpoint, connect
from linkspan.errors import ConfigurationError
from linkspan.providers.retirement import warn_if_retired

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from linkspan.providers.codec import Codec
    from linkspan.providers.provider import Provider

__all__ = ["CONNECTION_FIELDS", "Connected"]

#: Changing one of these makes a new connection.
CONNECTION_FIELDS = frozenset(
    {
        "allow_insecure_http",
        "api_key",
        "base_url",
        "default_headers",
        "http_async_client",
        "http_client",
        "max_retries",
        "path",
        "project_id",
        "raise_on_block",
        "timeout",
    }
)

#: Handed on as they are when an object is copied: they stand for something outside it.
_SHARED_FIELDS = frozenset(
    {
        "callback_manager",
        "completion_to_prompt",
        "http_async_client",
        "http_client",
        "messages_to_prompt",
        "output_parser",
        "query_wrapper_prompt",
        "rate_limiter",
    }
)

#: Hold open sockets and locks, so they stay behind when an object is pickled.
_UNPICKLED_FIELDS = frozenset({"http_async_client", "http_client"})

#: Whether the object that is being made is a copy of another.
_copying: ContextVar[bool] = ContextVar("linkspan_copying", default=False)


class Connected(BaseComponent):
    """Settings of a connection, and the connection itself, opened with the first call.

    Usable from threads, in several event loops one after the other, after pickle and deepcopy. A pickle holds the key
    (it would be of no use without), but not ``http_client`` and ``http_async_client``; ``to_dict`` holds neither key
    nor headers, and ``from_dict`` reads the environment again.
    """

    # Validators are built with the first object of a class, not with the import of all between it and core.
    model_config = ConfigDict(defer_build=True)

    #: The API's fixed facts; each class states its own.
    _provider: ClassVar[Provider]
    #: Fields that the codec is made of.
    _codec_fields: ClassVar[frozenset[str]] = frozenset()

    model: str = Field(description="Name of the model.")
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False, description="The key.")
    base_url: str | None = Field(default=None, description="The API's address; `api_base` is the same thing.")
    default_headers: dict[str, str] | None = Field(
        default=None, exclude=True, repr=False, description="Headers sent with every request."
    )
    timeout: float | None = Field(
        default=None, gt=0, description="Seconds of silence allowed; None: the API's default."
    )
    max_retries: int = Field(default=2, ge=0, description="How often a failed attempt is repeated.")
    allow_insecure_http: bool = Field(default=False, description="Allow a key over plain http to a public host.")
    http_client: Any = Field(default=None, exclude=True, repr=False, description="An httpx.Client; never closed here.")
    http_async_client: Any = Field(
        default=None, exclude=True, repr=False, description="An httpx.AsyncClient; never closed here."
    )

    _endpoint: Endpoint[Any] | None = PrivateAttr(default=None)
    _endpoint_lock: Any = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, **settings: Any) -> None:
        settings = _one_base_url(settings)
        self._refuse_unknown(settings)
        settings["api_key"] = self._provider.resolve_api_key(settings.get("api_key"))
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ConfigurationError(_describe(type(self).__name__, error), provider=self._provider.name) from None
        # Says now what is wrong with address and key; opens nothing.
        self._connect()
        if not _copying.get():
            warn_if_retired(self._provider, self.model)

    @classmethod
    def _refuse_unknown(cls, settings: Mapping[str, Any]) -> None:
        known = [*cls.model_fields, "api_base"]
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = (
                    f"did you mean {near[0]!r}?"
                    if near
                    else "parameters of the API that have no argument go into additional_kwargs or extra_body."
                )
                raise ConfigurationError(
                    f"{cls.__name__} has no argument {name!r}; {hint}", provider=cls._provider.name
                )

    # ------------------------------------------------------------------ what each class states

    def _codec(self) -> Codec[Any]:
        raise NotImplementedError

    def _resolved_base_url(self) -> str:
        """The address: argument, environment or public service."""
        return self._provider.resolve_base_url(self.base_url)

    # ------------------------------------------------------------------ the connection

    def _connected(self) -> Endpoint[Any]:
        endpoint = self._endpoint
        if endpoint is None:
            with self._endpoint_lock:
                if self._endpoint is None:
                    self._endpoint = self._connect()
                endpoint = self._endpoint
        return endpoint

    def _connect(self) -> Endpoint[Any]:
        return connect(
            self._codec(),
            self._provider,
            api_key=self.api_key,
            base_url=self._resolved_base_url(),
            default_headers=self.default_headers,
            http_client=self.http_client,
            http_async_client=self.http_async_client,
            timeout=self.timeout,
            max_retries=self.max_retries,
            allow_insecure_http=self.allow_insecure_http,
        )

    def close(self) -> None:
        """Close the connections of sync calls. A later call opens new ones."""
        if self._endpoint is not None:
            self._endpoint.close()

    async def aclose(self) -> None:
        """Close the connections that this object opened. A later call opens new ones."""
        if self._endpoint is not None:
            await self._endpoint.aclose()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # ------------------------------------------------------------------ changes and copies

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "api_key":
            value = self._provider.resolve_api_key(value)
        super().__setattr__(name, value)
        if name in CONNECTION_FIELDS or name in self._codec_fields:
            self._endpoint = None

    def __copy__(self) -> Any:
        with _as_a_copy():
            return type(self)(**self.__dict__)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        settings = {
            name: value if name in _SHARED_FIELDS else copy.deepcopy(value, memo)
            for name, value in self.__dict__.items()
        }
        with _as_a_copy():
            return type(self)(**settings)

    def __getstate__(self) -> dict[str, Any]:
        settings = {
            name: value
            for name, value in self.__dict__.items()
            if name not in _UNPICKLED_FIELDS and (name not in _SHARED_FIELDS or _can_be_pickled(value))
        }
        return {"__dict__": settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        with _as_a_copy():
            type(self).__init__(self, **state["__dict__"])


@contextlib.contextmanager
def _as_a_copy() -> Iterator[None]:
    """Construct without the warnings that the original gave when it was made."""
    token = _copying.set(True)
    try:
        yield
    finally:
        _copying.reset(token)


def _one_base_url(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Take ``api_base`` for ``base_url``."""
    settings = dict(settings)
    api_base = settings.pop("api_base", None)
    if api_base is not None:
        if settings.get("base_url") not in (None, api_base):
            raise ConfigurationError("api_base and base_url are the same thing, and they differ: give one of them")
        settings["base_url"] = api_base
    return settings


def _can_be_pickled(value: Any) -> bool:
    # Callback managers and the like may hold anything, locks and lambdas too; there is no other way to find out.
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001  # whatever an object's own pickling raises
        return False
    return True


def _describe(class_name: str, error: ValidationError) -> str:
    """Name each wrong field without pydantic's echo of the value, which may be a key."""
    problems = (f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}" for problem in error.errors())
    return f"{class_name} cannot be made: {'; '.join(problems)}"
