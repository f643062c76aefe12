"""What both APIs of Scale LLM Engine share: where they are, and how the key travels (docs/apis/llm_engine.md)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal

from linkspan.errors import ConfigurationError
from linkspan.providers.provider import Provider

if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = ["LLM_ENGINE", "Auth", "Framework", "auth_headers", "check_auth"]

#: The hosted service was closed in October 2024: whoever uses LLM Engine runs it, so there is no default address.
LLM_ENGINE = Provider(
    name="llm_engine",
    title="Scale LLM Engine",
    api_key_env=("SCALE_API_KEY",),
    base_url_env=("LLM_ENGINE_BASE_PATH",),
    default_base_url=None,
    # The gateway itself waits up to 300 s for a model that has to be started, and fails only then.
    default_timeout=360.0,
    # A model that has begun to answer has been started.
    default_stall_timeout=120.0,
)

if TYPE_CHECKING:
    #: How the key is sent: ``"basic"`` is what the official client does.
    Auth: TypeAlias = Literal["basic", "bearer"]
    #: What can run an endpoint, by LLM Engine's own names.
    Framework: TypeAlias = Literal[
        "deepspeed", "lightllm", "sglang", "tensorrt_llm", "text_generation_inference", "vllm"
    ]
else:
    Auth = Literal["basic", "bearer"]
    Framework = Literal["deepspeed", "lightllm", "sglang", "tensorrt_llm", "text_generation_inference", "vllm"]


def check_auth(auth: str) -> None:
    """Refuse an unknown way to send the key.

    Raises:
        ConfigurationError: It is neither ``"basic"`` nor ``"bearer"``.
    """
    if auth not in ("basic", "bearer"):
        raise ConfigurationError(f'auth must be "basic" or "bearer", not {auth!r}.', provider=LLM_ENGINE.name)


def auth_headers(api_key: str, auth: Auth) -> dict[str, str]:
    """Return the headers that carry the key.

    Args:
        api_key: The key.
        auth: ``"basic"``: the key as user name with an empty password, and ``x-api-key`` beside it. ``"bearer"``: a
            bearer token.

    Raises:
        ConfigurationError: The key holds a colon, which would end the user name.
    """
    if auth == "bearer":
        return {"Authorization": f"Bearer {api_key}"}
    if ":" in api_key:
        raise ConfigurationError(
            'The key holds a colon, which Basic authentication cannot carry in a user name: use auth="bearer".',
            provider=LLM_ENGINE.name,
        )
    token = base64.b64encode(f"{api_key}:".encode()).decode("ascii")
    return {"Authorization": f"Basic {token}", "x-api-key": api_key}
