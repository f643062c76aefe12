"""Models (endpoints) of an LLM Engine deployment, and its health (docs/apis/llm_engine.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from linkspan.errors import ConfigurationError, InvalidResponseError
from linkspan.providers.chat_completions.models import ListedModel
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.llm_engine.provider import LLM_ENGINE
from linkspan.providers.wire import as_flag, as_name, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ENDPOINTS_PATH",
    "HEALTH_PATH",
    "LLMEngineModel",
    "decode_endpoints",
    "decode_model",
    "model_path",
]

#: Routes below the base URL.
ENDPOINTS_PATH = "v1/llm/model-endpoints"
HEALTH_PATH = "healthz"

_NAME = LLM_ENGINE.name


@dataclass(frozen=True, kw_only=True)
class LLMEngineModel(ListedModel):
    """An endpoint of a deployment: a model with its own servers. ``id`` is its name, for ``model=``.

    Attributes:
        endpoint_id: Its id in the deployment.
        model_name: The model that it serves.
        source: The model's source, such as ``"hugging_face"``.
        status: ``READY``, ``UPDATE_PENDING``, ``UPDATE_IN_PROGRESS``, ``UPDATE_FAILED`` or ``DELETE_IN_PROGRESS``.
        framework: Its inference framework: ``vllm``, ``sglang``, ``text_generation_inference``, ``lightllm``,
            ``deepspeed`` or ``tensorrt_llm``.
        kind: ``streaming``, ``sync`` or ``async``; ``None`` if unknown.
        public: Whether other teams may use it; ``None`` if unknown.
    """

    endpoint_id: str | None = None
    model_name: str | None = None
    source: str | None = None
    status: str | None = None
    framework: str | None = None
    kind: str | None = None
    public: bool | None = None

    @property
    def streams(self) -> bool | None:
        """Whether answers can be streamed; ``None`` if its kind is unknown."""
        return None if self.kind is None else self.kind == "streaming"


def decode_endpoints(body: bytes, headers: Mapping[str, str]) -> list[LLMEngineModel]:
    """Decode the list: ``{"model_endpoints": [{…}]}``.

    Raises:
        InvalidResponseError: The answer is not such a list, or an endpoint in it has no name.
    """
    parsed = parse_json(body, _NAME)
    rows = parsed.get("model_endpoints") if isinstance(parsed, dict) else None
    if not isinstance(rows, list):
        raise _invalid("the answer holds no list of model endpoints", headers)
    return [_read(row, headers) for row in rows]


def decode_model(body: bytes, headers: Mapping[str, str]) -> LLMEngineModel:
    """Decode the answer for one endpoint.

    Raises:
        InvalidResponseError: The answer does not describe an endpoint.
    """
    return _read(parse_json(body, _NAME), headers)


def model_path(name: str) -> str:
    """Return the route of one endpoint.

    Raises:
        ConfigurationError: The name contains a slash. The gateway cannot find such an endpoint, even if encoded.
    """
    if "/" in name:
        raise ConfigurationError(
            f"{LLM_ENGINE.title} cannot look up {name!r}: an endpoint with a slash in its name can be used, and is in "
            "the list of models, but has no route of its own.",
            provider=_NAME,
        )
    return f"{ENDPOINTS_PATH}/{quote(name, safe='')}"


def _read(row: Any, headers: Mapping[str, str]) -> LLMEngineModel:
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(name, str) or not name:
        raise _invalid("a model endpoint of the answer has no name", headers)
    fields = {key: value for key, value in row.items() if value is not None}
    spec: dict[str, Any] = fields["spec"] if isinstance(fields.get("spec"), dict) else {}
    del fields["name"]
    return LLMEngineModel(
        id=name,
        endpoint_id=as_name(fields.pop("id", None), "id"),
        model_name=as_name(fields.pop("model_name", None), "model_name"),
        source=as_name(fields.pop("source", None), "source"),
        status=as_name(fields.pop("status", None), "status"),
        framework=as_name(fields.pop("inference_framework", None), "inference_framework"),
        kind=as_name(spec.get("endpoint_type"), "endpoint_type"),
        public=as_flag(spec.get("public_inference"), "public_inference"),
        extra=fields,
    )


def _invalid(what: str, headers: Mapping[str, str]) -> InvalidResponseError:
    return InvalidResponseError(f"{_NAME}: {what}.", provider=_NAME, request_id=request_id_of(headers))
