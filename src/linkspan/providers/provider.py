"""The fixed facts of an API: its name, its address, and its environment variables."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from pydantic import SecretStr

from linkspan.errors import ConfigurationError

__all__ = ["Provider", "first_set", "host_of"]


def first_set(names: tuple[str, ...]) -> str | None:
    """Return the value of the first of these environment variables that is set and not blank."""
    for name in names:
        value = os.environ.get(name, "").strip()
        if value:
            return value
    return None


@dataclass(frozen=True)
class Provider:
    """An API.

    Attributes:
        name: Short name, used in errors, traces and metadata: ``"scaleway"``.
        title: Display name: ``"Scaleway Generative APIs"``.
        api_key_env: Environment variables of the key, by priority.
        base_url_env: Environment variables of the base URL, by priority.
        default_base_url: The public service; ``None`` if there is none.
        keyed_hosts: Further hosts that always require a key.
        default_timeout: Default for the seconds of silence allowed.
        default_stall_timeout: Default for the seconds between two events of a stream; ``None`` means the same.
        caches_prompts: The API caches prompt prefixes automatically, without cache marks.
    """

    name: str
    title: str
    api_key_env: tuple[str, ...]
    base_url_env: tuple[str, ...]
    default_base_url: str | None
    default_timeout: float = 600.0
    default_stall_timeout: float | None = None
    keyed_hosts: tuple[str, ...] = ()
    caches_prompts: bool = False

    def resolve_api_key(self, explicit: SecretStr | str | None) -> SecretStr | None:
        """Return the key: the argument, else from the environment. A blank key counts as missing.

        Raises:
            ConfigurationError: The argument is not a string, or the key is not UTF-8.
        """
        if isinstance(explicit, SecretStr):
            explicit = explicit.get_secret_value()
        if explicit is not None and not isinstance(explicit, str):
            raise ConfigurationError(
                f"api_key must be text or a SecretStr, not {type(explicit).__name__}.", provider=self.name
            )
        value = (explicit or "").strip() or first_set(self.api_key_env)
        if value and re.search("[\ud800-\udfff]", value):
            raise ConfigurationError(
                f"The key for {self.title} contains bytes that are not UTF-8: read it again, as text.",
                provider=self.name,
            )
        return SecretStr(value) if value else None

    def resolve_base_url(self, explicit: str | None) -> str:
        """Return the base URL: the argument, else from the environment, else the public service.

        Raises:
            ConfigurationError: None of the three is set.
        """
        value = (explicit or "").strip() or first_set(self.base_url_env) or self.default_base_url
        if not value:
            raise ConfigurationError(
                f"{self.title} has no public address: give base_url, or set {' or '.join(self.base_url_env)}.",
                provider=self.name,
            )
        return value

    def require_api_key(self, api_key: SecretStr | None, base_url: str) -> None:
        """Refuse to use a public service without a key. Elsewhere a key is optional.

        Raises:
            ConfigurationError: The base URL is the public service's and there is no key.
        """
        public = {*self.keyed_hosts, *([host_of(self.default_base_url)] if self.default_base_url else [])}
        if api_key is None and host_of(base_url) in public:
            raise ConfigurationError(
                f"{self.title} needs a key: give api_key, or set {' or '.join(self.api_key_env)}.",
                provider=self.name,
            )


def host_of(url: str) -> str:
    """Return the host of a URL, lower-cased; also of a malformed one, which ``check_base_url`` reports."""
    return url.split("//", 1)[-1].split("/", 1)[0].rpartition("@")[2].partition(":")[0].lower()
