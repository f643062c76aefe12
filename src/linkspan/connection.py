"""The settings of a connection to an API, and its life: opened by the first call, never copied, never pickled.

Both frameworks' classes derive from :class:`Connected`, so that a change, a copy or a pickle means the same in both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping  # noqa: TC003  # pydantic reads the annotations at run time
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, Strict, ValidationError

from linkspan.endpoint import connect
from linkspan.errors import ConfigurationError
from linkspan.fields import check_value, documented, refuse_unknown, takes_none, validation_problems
from linkspan.locks import ForkSafeLock
from linkspan.providers.retirement import warn_if_retired
from linkspan.redaction import MaskedHeaders
from linkspan.transport import LARGEST_RESPONSE

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

    from typing_extensions import Self

    from linkspan.endpoint import Endpoint
    from linkspan.providers.codec import Codec
    from linkspan.providers.provider import Provider

__all__ = ["Connected", "EndpointSlot", "reopening_fields"]


class EndpointSlot:
    """Holds an object's endpoint. Copies and pickles of a slot are empty: connections are not shared or saved."""

    __slots__ = ("endpoint", "lock")

    def __init__(self) -> None:
        self.endpoint: Endpoint[Any] | None = None
        self.lock = ForkSafeLock()

    def get(self, create: Callable[[], Endpoint[Any]]) -> Endpoint[Any]:
        """Return the endpoint; create it if there is none, once, however many threads ask."""
        if self.endpoint is None:
            with self.lock:
                if self.endpoint is None:
                    self.endpoint = create()
        return self.endpoint

    def __deepcopy__(self, _: dict[int, Any]) -> EndpointSlot:
        return EndpointSlot()

    def __reduce__(self) -> tuple[Any, ...]:
        return (EndpointSlot, ())

    def __eq__(self, other: object) -> bool:
        # Two models with equal fields are equal, whatever connections they have open.
        return isinstance(other, EndpointSlot)

    __hash__ = None  # type: ignore[assignment]  # as for any mutable value


class Connected(BaseModel):
    """Settings of a connection, which the first call opens.

    Usable from threads, in one event loop after another, and after copying, pickling and forking. A pickle holds the
    key: without it, it would be of no use.

    A class states its provider, its codec, and the fields that its connection is made of.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        # A validation error would otherwise show the arguments, the key among them.
        hide_input_in_errors=True,
        # Validators are built with the first object of a class, not with the import of all between it and core.
        defer_build=True,
    )

    #: The API's fixed facts.
    _provider: ClassVar[Provider]
    #: Other names of fields, for the constructor and for a call.
    argument_aliases: ClassVar[Mapping[str, str]] = {"api_base": "base_url"}
    #: Where parameters of the API go that have no field.
    further_parameters: ClassVar[str] = "extra_body"
    #: Fields of this class that its connection, or its codec, is made of; those of its bases count as well.
    connection_fields: ClassVar[frozenset[str]] = frozenset(
        {"api_key", "base_url", "default_headers", "timeout", "max_retries", "max_response_bytes"}
        | {"allow_insecure_http"}
        | {"http_client", "http_async_client"}
    )

    api_key: SecretStr | None = Field(
        default=None, repr=False, exclude=True, description="The key. Default: the environment's, see the class."
    )
    base_url: str | None = Field(
        default=None,
        description="Address of the API; `api_base` is another name. Default: the environment's, then the public "
        "service.",
    )
    default_headers: Annotated[dict[str, str], AfterValidator(MaskedHeaders)] = Field(
        default_factory=dict,
        repr=False,
        exclude=True,
        description="Headers sent with every request. Not shown and not serialized: they may hold secrets.",
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="Further fields of each request body, merged last and as they are."
    )
    timeout: Annotated[float, Strict()] | None = Field(
        default=None,
        gt=0,
        description="Seconds of silence allowed, before an answer and between the events of a stream. Default: the "
        "API's.",
    )
    max_retries: int = Field(
        default=2,
        ge=0,
        description="How often a failed attempt is repeated: connection errors, 408, 429 and 5xx.",
    )
    max_response_bytes: int = Field(
        default=LARGEST_RESPONSE,
        gt=0,
        description="The most bytes, decompressed, of a whole answer, of one event of a stream, and of what a stream "
        "sends without carrying anything. More of them end the call with an `InvalidResponseError`. Default: 64 MiB.",
    )
    http_client: Any = Field(
        default=None,
        exclude=True,
        repr=False,
        description="Use this `httpx.Client` for sync calls instead of creating one. It is never closed.",
    )
    http_async_client: Any = Field(
        default=None,
        exclude=True,
        repr=False,
        description="Use this `httpx.AsyncClient` for async calls instead of creating one per event loop. It is never "
        "closed, and belongs to one event loop.",
    )
    allow_insecure_http: bool = Field(
        default=False, description="Allow the key to travel over plain http to a public host."
    )

    _slot: EndpointSlot = PrivateAttr(default_factory=EndpointSlot)
    _complete: bool = PrivateAttr(default=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        # A class of a framework for an API: what users make.
        if hasattr(cls, "_provider") and "linkspan.settings" not in cls.__module__ and "__doc__" in vars(cls):
            cls.__doc__ = documented(cls)

    def __init__(self, **settings: Any) -> None:
        cls = type(self)
        settings = cls._prepared(settings)
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ConfigurationError(
                f"{cls.__name__}: {validation_problems(error)}", provider=cls._provider.name
            ) from None
        self._check()
        self._complete = True
        self._warn()

    # ------------------------------------------------------------------ what a class states

    def _create_codec(self) -> Codec[Any]:
        """Return the codec."""
        raise NotImplementedError

    def _endpoint_class(self) -> type[Endpoint[Any]] | None:
        """Return the class of the endpoint, ``None`` for the usual one."""
        return None

    def _resolved_base_url(self) -> str:
        """Return the address of the API."""
        return self._provider.resolve_base_url(self.base_url)

    def _check(self) -> None:
        """Refuse fields that do not go together. Called after construction and after every change.

        Raises:
            ConfigurationError: A key is missing, an address is wrong, or fields contradict each other.
        """
        self._connect()

    def _warn(self) -> None:
        """Warn of what is known to be amiss. Called after construction."""
        warn_if_retired(self._provider, getattr(self, "model", None))

    def _errors(self) -> AbstractContextManager[None]:
        """Return the context in which errors of calls become the framework's own."""
        return contextlib.nullcontext()

    # ------------------------------------------------------------------ construction

    @classmethod
    def _prepared(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments under the fields' names, without those that are ``None``.

        Raises:
            ConfigurationError: An argument is unknown, or given under two names.
        """
        settings = cls._with_aliases_resolved(settings)
        refuse_unknown(cls, settings)
        fields = cls.model_fields
        settings = {name: value for name, value in settings.items() if value is not None or takes_none(fields[name])}
        return {**settings, "api_key": cls._provider.resolve_api_key(settings.get("api_key"))}

    @classmethod
    def _with_aliases_resolved(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments under the fields' own names.

        Raises:
            ConfigurationError: An argument is given under two names.
        """
        values = dict(values)
        for alias in cls.argument_aliases.keys() & values.keys():
            name, value = cls.argument_aliases[alias], values.pop(alias)
            if name in values:
                raise ConfigurationError(
                    f"{name} and {alias} are two names for one argument: give one.", provider=cls._provider.name
                )
            values[name] = value
        return values

    # ------------------------------------------------------------------ the connection

    def _endpoint(self) -> Endpoint[Any]:
        """Return the endpoint; the first call creates it."""
        return self._slot.get(self._connect)

    def _connect(self) -> Endpoint[Any]:
        """Return a new endpoint. Nothing is opened before its first call."""
        return connect(
            self._create_codec(),
            self._provider,
            api_key=self.api_key,
            base_url=self._resolved_base_url(),
            default_headers=self.default_headers,
            http_client=self.http_client,
            http_async_client=self.http_async_client,
            timeout=self.timeout,
            max_retries=self.max_retries,
            max_response_bytes=self.max_response_bytes,
            allow_insecure_http=self.allow_insecure_http,
            endpoint_class=self._endpoint_class(),
        )

    def close(self) -> None:
        """Close the connections of sync calls. The object stays usable: the next call opens new ones."""
        endpoint, self._slot = self._slot.endpoint, EndpointSlot()
        if endpoint is not None:
            endpoint.close()

    async def aclose(self) -> None:
        """Close all connections that this object opened. It stays usable: the next call opens new ones."""
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

    # ------------------------------------------------------------------ changes and copies

    def __setattr__(self, name: str, value: Any) -> None:
        # During construction, validators of the frameworks set fields as well.
        if name in type(self).model_fields and (self.__pydantic_private__ or {}).get("_complete"):
            self._change({name: value})
        else:
            super().__setattr__(name, value)

    def _change(self, update: Mapping[str, Any]) -> None:
        """Set fields, checked as the constructor checks them: all of them, or none.

        Raises:
            ConfigurationError: A field is unknown, or a value is wrong, alone or together with the others.
        """
        cls = type(self)
        before, fields_set = dict(self.__dict__), set(self.__pydantic_fields_set__)
        for name, value in update.items():
            super().__setattr__(name, self._checked_value(name, value))
        reopened = bool(update.keys() & reopening_fields(cls))
        try:
            self._changed(update)
            self._check()
        except ConfigurationError:
            self.__dict__.clear()
            self.__dict__.update(before)
            self.__pydantic_fields_set__.clear()
            self.__pydantic_fields_set__.update(fields_set)
            raise
        if reopened:
            self._slot = EndpointSlot()

    def _changed(self, update: Mapping[str, Any]) -> None:
        """Called after fields were set: a class drops what it has derived from them."""

    def _renew(self) -> None:
        """Make this copy independent of its original: connections of its own, nothing derived kept."""
        self._slot = EndpointSlot()
        self._changed(self.__dict__)

    @classmethod
    def _checked_value(cls, name: str, value: Any) -> Any:
        if name == "api_key":
            return cls._provider.resolve_api_key(value)
        return check_value(cls, name, value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with connections of its own and some fields changed; changes are checked.

        Raises:
            ConfigurationError: ``update`` names an unknown field, or a value is wrong.
        """
        update = self._with_aliases_resolved(update or {})
        refuse_unknown(type(self), update)
        copied = super().model_copy(deep=deep)
        if update:
            copied._change(update)  # noqa: SLF001  # of the same class
        return copied

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._renew()  # noqa: SLF001  # of the same class
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        # Clients of the user hold locks and sockets: a copy uses the same ones.
        memo.update({id(client): client for client in (self.http_client, self.http_async_client) if client is not None})
        copied = super().__deepcopy__(memo)
        copied._renew()  # noqa: SLF001  # of the same class
        return copied

    def __getstate__(self) -> dict[Any, Any]:
        self._refuse_pickle()
        return super().__getstate__()

    def _refuse_pickle(self) -> None:
        """Refuse to pickle an object with clients of the user.

        Raises:
            ConfigurationError: It has one.
        """
        if self.http_client is not None or self.http_async_client is not None:
            raise ConfigurationError(
                f"A {type(self).__name__} with http_client or http_async_client cannot be pickled: they hold open "
                "connections. Pickle one without, and set them afterwards.",
                provider=self._provider.name,
            )


@cache
def reopening_fields(cls: type[Connected]) -> frozenset[str]:
    """Return the fields of a class whose change needs a new connection."""
    return frozenset().union(*(vars(base).get("connection_fields", frozenset()) for base in cls.__mro__))
