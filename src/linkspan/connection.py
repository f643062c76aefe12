"""Connection settings of an API and the connection's life: the first call opens it; it is never copied or pickled.

Both frameworks' classes derive from :class:`Connected`, so that changes, copies and pickles behave alike in both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping  # noqa: TC003  # pydantic reads the annotations at run time
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, Strict, ValidationError

from linkspan.endpoint import connect
from linkspan.endpoint_slot import EndpointSlot
from linkspan.errors import ConfigurationError
from linkspan.fields import (
    SignatureOnDemand,
    by_field_name,
    check_value,
    documented,
    refuse_unknown,
    takes_none,
    validation_problems,
)
from linkspan.providers.retirement import warn_if_retired
from linkspan.redaction import MaskedHeaders
from linkspan.transport import LARGEST_RESPONSE

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

    from typing_extensions import Self

    from linkspan.endpoint import Endpoint
    from linkspan.providers.codec import Codec
    from linkspan.providers.provider import Provider

    #: What a constructor takes. The field is always a ``SecretStr``, but type checkers have one type for both.
    APIKey = SecretStr | str
else:
    APIKey = SecretStr

__all__ = ["Connected", "reopening_fields"]


class Connected(BaseModel):
    """Connection settings. The first call opens the connection.

    Works in threads, in one event loop after another, and after copying, pickling and forking. A pickle contains the
    key, because it would be useless without it.

    A subclass defines its provider, its codec, and the fields that need a new connection when they change.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        # Otherwise a validation error would show the arguments, including the key.
        hide_input_in_errors=True,
        # Build validators with the first object of a class, not at import for every base class.
        defer_build=True,
    )

    #: The API's fixed facts.
    _provider: ClassVar[Provider]
    #: Other names of fields, for the constructor and for a call.
    argument_aliases: ClassVar[Mapping[str, str]] = {"api_base": "base_url"}
    #: The argument for parameters of the API without a field.
    further_parameters: ClassVar[str] = "extra_body"
    #: Fields of this class whose change needs a new connection or codec, in addition to those of its bases.
    connection_fields: ClassVar[frozenset[str]] = frozenset(
        {"api_key", "base_url", "default_headers", "timeout", "max_retries", "max_response_bytes"}
        | {"allow_insecure_http"}
        | {"http_client", "http_async_client"}
    )

    api_key: APIKey | None = Field(
        default=None, repr=False, exclude=True, description="The key. Default: from the environment; see the class."
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
        description="Headers sent with every request. Never shown or serialized, because they may contain secrets.",
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="Further fields of each request body, merged last and unchanged."
    )
    timeout: Annotated[float, Strict()] | None = Field(
        default=None,
        gt=0,
        description="Seconds of silence allowed, before an answer and between the events of a stream; `math.inf`: no "
        "limit. Default: the API's.",
    )
    max_retries: int = Field(
        default=2,
        ge=0,
        description="Most retries of a failed attempt: connection errors, 408, 429 and 5xx.",
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
        if not cls.__pydantic_complete__:
            cls.__signature__ = SignatureOnDemand()  # type: ignore[assignment]  # a descriptor, as pydantic's own
        # A framework's class for an API, which users create.
        if hasattr(cls, "_provider") and "linkspan.settings" not in cls.__module__ and "__doc__" in vars(cls):
            cls.__doc__ = documented(cls)

    def __init__(self, **settings: Any) -> None:
        cls = type(self)
        with self._errors():
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

    # ------------------------------------------------------------------ what a subclass defines

    def _create_codec(self) -> Codec[Any]:
        """Return the codec."""
        raise NotImplementedError

    def _endpoint_class(self) -> type[Endpoint[Any]] | None:
        """Return the class of the endpoint; ``None`` for the default."""
        return None

    def _resolved_base_url(self) -> str:
        """Return the address of the API."""
        return self._provider.resolve_base_url(self.base_url)

    def _check(self) -> None:
        """Refuse inconsistent fields. Called after construction and after every change.

        Raises:
            ConfigurationError: A key is missing, an address is wrong, or fields contradict each other.
        """
        self._connect()

    def _warn(self) -> None:
        """Warn of known problems. Called after construction."""
        warn_if_retired(self._provider, getattr(self, "model", None))

    def _errors(self) -> AbstractContextManager[None]:
        """Return a context manager that converts errors to the framework's own."""
        return contextlib.nullcontext()

    # ------------------------------------------------------------------ construction

    @classmethod
    def _prepared(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments by field name, without those that are ``None``.

        Raises:
            ConfigurationError: An argument is unknown, or passed under two names.
        """
        settings = by_field_name(cls, settings)
        refuse_unknown(cls, settings)
        fields = cls.model_fields
        settings = {name: value for name, value in settings.items() if value is not None or takes_none(fields[name])}
        return {**settings, "api_key": cls._provider.resolve_api_key(settings.get("api_key"))}

    # ------------------------------------------------------------------ the connection

    @property
    def _key(self) -> SecretStr | None:
        return cast("SecretStr | None", self.api_key)

    def _endpoint(self) -> Endpoint[Any]:
        """Return the endpoint; the first call creates it."""
        return self._slot.get(self._connect)

    def _connect(self) -> Endpoint[Any]:
        """Create an endpoint. It opens nothing before its first call."""
        return connect(
            self._create_codec(),
            self._provider,
            api_key=self._key,
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
        # The frameworks' validators also set fields during construction.
        if name in type(self).model_fields and (self.__pydantic_private__ or {}).get("_complete"):
            with self._errors():
                self._change({name: value})
        else:
            super().__setattr__(name, value)

    def _change(self, update: Mapping[str, Any]) -> None:
        """Set all of these fields or none, after the checks of the constructor.

        Raises:
            ConfigurationError: A field is unknown, or a value is wrong, by itself or together with others.
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
        """Drop values derived from the fields. Called after fields were set."""

    def _renew(self) -> None:
        """Make this copy independent of its original: with its own connections and without derived values."""
        self._slot = EndpointSlot()
        self._changed(self.__dict__)

    @classmethod
    def _checked_value(cls, name: str, value: Any) -> Any:
        if name == "api_key":
            return cls._provider.resolve_api_key(value)
        return check_value(cls, name, value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with its own connections and with some fields changed; changes are checked.

        Raises:
            ConfigurationError: ``update`` names an unknown field, or a value is wrong.
        """
        with self._errors():
            update = by_field_name(type(self), update or {})
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
        # The user's clients hold locks and sockets, so a copy shares them.
        memo.update({id(client): client for client in (self.http_client, self.http_async_client) if client is not None})
        copied = super().__deepcopy__(memo)
        copied._renew()  # noqa: SLF001  # of the same class
        return copied

    def __getstate__(self) -> dict[Any, Any]:
        self._refuse_pickle()
        return super().__getstate__()

    def _refuse_pickle(self) -> None:
        """Refuse to pickle an object with a user's client.

        Raises:
            ConfigurationError: The object has one.
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
