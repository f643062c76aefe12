"""Decode the list of models of the Chat Completions dialect: ``GET models`` (docs/apis/scaleway.md#routes)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linkspan.errors import InvalidResponseError
from linkspan.providers.catalog import model_info
from linkspan.providers.chat_completions.decode import error_in
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.wire import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.providers.catalog import ModelInfo

__all__ = ["MODELS_PATH", "ListedModel", "decode_models"]

#: The route, relative to the base URL.
MODELS_PATH = "models"


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A model in the API's list.

    Attributes:
        id: Its name, for ``model=``.
        owned_by: Its owner; ``None`` if the API does not say.
        created: Seconds since 1970, UTC; ``None`` if the API does not say. vLLM sends the time of the request.
        extra: All other fields of the answer, under the API's names.
        info: The model's entry in linkspan's catalogue; ``None`` if there is none. For a dedicated deployment's name,
            such as ``meta/NAME:fp8``, the entry for deployments of ``NAME``.
    """

    id: str
    owned_by: str | None = None
    created: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    info: ModelInfo | None = None

    @property
    def context_window(self) -> int | None:
        """Tokens of prompt and answer together: from the server (``max_model_len``), else from the catalogue."""
        for said in (self.extra.get("max_model_len"), _object(self.extra.get("meta")).get("n_ctx")):
            if type(said) is int and said > 0:
                return said
        return None if self.info is None else self.info.context_window

    @property
    def origin(self) -> str | None:
        """The model's source (vLLM's ``root``); ``None`` if the server does not say."""
        root = self.extra.get("root")
        return root if isinstance(root, str) and root else None

    @property
    def is_adapter(self) -> bool:
        """Whether it is a LoRA adapter of another model in the list (vLLM's ``parent``)."""
        return bool(self.extra.get("parent"))


def decode_models(body: bytes, headers: Mapping[str, str], provider: str) -> list[ListedModel]:
    """Decode the list: ``{"object": "list", "data": [{"id", "object", "created", "owned_by", …}]}``, or ``data`` alone.

    Returns:
        The models in the order of the answer.

    Raises:
        InvalidResponseError: The answer is not such a list, or a model in it has no name.
        LinkspanError: The answer is an error under status 200.
    """
    parsed = parse_json(body, provider)
    error = error_in(parsed, provider, headers)
    if error is not None:
        raise error
    rows = parsed.get("data") if isinstance(parsed, dict) else parsed
    if not isinstance(rows, list):
        raise _invalid("the answer holds no list of models", headers, provider)
    return [_listed(row, index, headers, provider) for index, row in enumerate(rows)]


def _listed(row: Any, index: int, headers: Mapping[str, str], provider: str) -> ListedModel:
    fields = dict(row) if isinstance(row, dict) else {}
    name = fields.pop("id", None)
    if not isinstance(name, str) or not name:
        raise _invalid(f"model {index} of the list has no id", headers, provider)
    fields.pop("object", None)
    return ListedModel(
        id=name,
        owned_by=fields.pop("owned_by") if isinstance(fields.get("owned_by"), str) else None,
        created=fields.pop("created") if type(fields.get("created")) is int else None,
        extra=fields,
        info=model_info(provider, name),
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _invalid(what: str, headers: Mapping[str, str], provider: str) -> InvalidResponseError:
    return InvalidResponseError(f"{provider}: {what}.", provider=provider, request_id=request_id_of(headers))
