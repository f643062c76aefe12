"""Scale LLM Engine: what both APIs share, such as environment names and authentication (docs/apis/llm_engine.md)."""

from __future__ import annotations

import base64
from typing import Literal

from linkspan.errors import ConfigurationError
from linkspan.providers.provider import Provider

__all__ = ["LLM_ENGINE", "Auth", "Framework", "auth_headers"]

#: The hosted service closed in October 2024. Every deployment is self-hosted, so there is no default base URL.
LLM_ENGINE = Provider(
    name="llm_engine",
    title="Scale LLM Engine",
    api_key_env=("SCALE_API_KEY",),
    base_url_env=("LLM_ENGINE_BASE_PATH",),
    default_base_url=None,
    # The gateway waits up to 300 s for a model to start before it fails.
    default_timeout=360.0,
    # A model that has begun to answer is running.
    default_stall_timeout=120.0,
)

#: How the key is sent; the official client uses ``"basic"``.
Auth = Literal["basic", "bearer"]
#: Inference frameworks, by LLM Engine's names.
Framework = Literal["deepspeed", "lightllm", "sglang", "tensorrt_llm", "text_generation_inference", "vllm"]


def auth_headers(api_key: str, auth: Auth) -> dict[str, str]:
    """Return the headers that carry the key.

    ``"basic"`` sends it as user name with an empty password, and as ``x-api-key``; ``"bearer"`` as a bearer token.

    Raises:
        ConfigurationError: The key contains a colon, which would end the user name.
    """
    if auth == "bearer":
        return {"Authorization": f"Bearer {api_key}"}
    if ":" in api_key:
        raise ConfigurationError(
            'The key contains a colon, which a user name of Basic authentication cannot: use auth="bearer".',
            provider=LLM_ENGINE.name,
        )
    token = base64.b64encode(f"{api_key}:".encode()).decode("ascii")
    return {"Authorization": f"Basic {token}", "x-api-key": api_key}
