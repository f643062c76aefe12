"""The base of all linkspan classes for LangChain: the settings of a connection, and its life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, model_validator

from linkspan.endpoint import connect
from linkspan.errors import ConfigurationError
from linkspan.langchain.arguments import configuration_error, near_match
from linkspan.langchain.endpoint_slot import EndpointSlot
from linkspan.providers.retirement import warn_if_retired

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from linkspan.endpoint import Endpoint
    from linkspan.providers.provider import Provider

__all__ = ["Connected"]

#: Fields that the connection is made of: a change of one needs a new one.
_CONNECTION_FIELDS = frozenset(
    {"api_key", "base_url", "project_id", "default_headers", "timeout", "max_retries", "allow_insecure_http"}
    | {"http_client", "http_async_client", "path", "raise_on_block"}
)
#: Fields that are mappings; ``None`` stands for an empty one.
_NONE_IS_EMPTY = frozenset({"default_headers", "extra_body"})


class Connected(BaseModel):
    """Settings of a connection, opened with the first call. Not to be used itself.

    A class says its provider and its codec, and how its base URL is found where that is special.
    """

    model_config = ConfigDict(
        extra="forbid",
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        # A validation error would otherwise show the arguments, the key among them.
        hide_input_in_errors=True,
        # Validators are built with the first object of a class, not with the import of all between it and core.
        defer_build=True,
    )

    _provider: ClassVar[Provider]
    #: Fields that the codec is made of.
    _codec_fields: ClassVar[frozenset[str]] = frozenset()

    api_key: SecretStr | None = None
    """The key. Default: the environment's, see the class."""
    base_url: str | None = None
    """Where the API is. Default: the environment's, then the public service."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request body, merged last and as they are."""
    default_headers: dict[str, str] = Field(default_factory=dict, repr=False, exclude=True)
    """Further headers of every request. Not shown, and not part of a serialised form: they may hold secrets."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds of silence allowed, also between the events of a stream. Default: the provider's."""
    max_retries: int = Field(default=2, ge=0)
    """How often a failed request is repeated, at most."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """An ``httpx.Client`` to use for sync calls; it is not closed."""
    http_async_client: Any = Field(default=None, exclude=True, repr=False)
    """An ``httpx.AsyncClient`` to use for async calls; it is not closed, and belongs to one event loop."""
    allow_insecure_http: bool = False
    """Allow the key to travel over plain http to a public host."""

    _slot: EndpointSlot = PrivateAttr(default_factory=EndpointSlot)

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise configuration_error(error, type(self).__name__) from None

    @model_validator(mode="before")
    @classmethod
    def _read_arguments(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = cls._with_aliases_resolved(dict(values))
        for name in values:
            if name not in cls.model_fields:
                raise ConfigurationError(
                    f"{cls.__name__} has no argument {name!r}.{near_match(name, cls._argument_names())} "
                    "Parameters of the API that it does not name go into extra_body."
                )
        # None means "nothing set" everywhere else, and settings are often handed on.
        values = {name: value for name, value in values.items() if value is not None or name not in _NONE_IS_EMPTY}
        return {**values, "api_key": cls._provider.resolve_api_key(values.get("api_key"))}

    @classmethod
    def _argument_names(cls) -> list[str]:
        """Names that may be given to the constructor."""
        return list(cls.model_fields)

    @classmethod
    def _with_aliases_resolved(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments under their own names."""
        return values

    @model_validator(mode="after")
    def _check_connection(self) -> Connected:
        # A missing key or a bad address shows here and not at the first call. Opens nothing.
        self._connect()
        warn_if_retired(self._provider, getattr(self, "model", None))
        return self

    # ------------------------------------------------------------------ what a provider's class says

    def _make_codec(self) -> Any:
        """Return the codec."""
        raise NotImplementedError

    def _resolved_base_url(self) -> str:
        """Return where the API is."""
        return self._provider.resolve_base_url(self.base_url)

    # ------------------------------------------------------------------ the connection

    def _connection(self) -> Endpoint[Any]:
        return self._slot.get(self._connect)

    def _connect(self) -> Endpoint[Any]:
        return connect(
            self._make_codec(),
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

    # ------------------------------------------------------------------ copies and connections

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "api_key":
            value = self._provider.resolve_api_key(value)
        super().__setattr__(name, value)
        if (name in _CONNECTION_FIELDS or name in self._codec_fields) and self.__pydantic_private__ is not None:
            self._slot = EndpointSlot()

    def __copy__(self) -> Any:
        copied = super().__copy__()
        (copied.__pydantic_private__ or {})["_slot"] = EndpointSlot()
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        memo = {} if memo is None else memo
        # Clients of the user hold locks and sockets: a copy uses the same ones.
        memo.update({id(client): client for client in (self.http_client, self.http_async_client) if client is not None})
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        if self.http_client is not None or self.http_async_client is not None:
            raise ConfigurationError(
                f"A {type(self).__name__} with http_client or http_async_client cannot be pickled: they hold open "
                "connections. Pickle one without and set them afterwards.",
                provider=self._provider.name,
            )
        return super().__getstate__()

    def close(self) -> None:
        """Close the connections of sync calls. The object stays usable: the next call opens new ones."""
        endpoint, self._slot = self._slot.endpoint, EndpointSlot()
        if endpoint is not None:
            endpoint.close()

    async def aclose(self) -> None:
        """Close all connections. The object stays usable: the next call opens new ones."""
        endpoint, self._slot = self._slot.endpoint, EndpointSlot()
        if endpoint is not None:
            await endpoint.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.aclose()
