"""Settings for DataCrunch (Verda) and any TGI, vLLM or SGLang server: shared ones, and the completion classes'."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, Field

from linkspan.errors import ConfigurationError
from linkspan.fields import sent_if_set
from linkspan.options import ModelName, ModelSettings
from linkspan.providers.datacrunch import (
    DATACRUNCH,
    GENERATE_FIELDS,
    OpenAIPromptCodec,
    TGICodec,
    check_model,
    container_name,
    datacrunch_base_url,
    json_grammar,
    regex_grammar,
)
from linkspan.providers.datacrunch.parameter_apis import API, OPENAI_ONLY, TGI_ONLY, refuse_foreign
from linkspan.providers.datacrunch.provider import is_gateway
from linkspan.routes.served_model import ServedModelEndpoint
from linkspan.routes.tgi import ahealth, ainfo, health, info
from linkspan.settings.listing import ListsModels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.endpoint import Endpoint
    from linkspan.providers.chat_completions.models import ListedModel
    from linkspan.providers.codec import Codec
    from linkspan.providers.datacrunch import ServerHealth, ServerInfo
    from linkspan.providers.provider import Provider

__all__ = ["DataCrunchPromptSettings", "DataCrunchSettings", "SharedParameters"]


class DataCrunchSettings(ListsModels, ModelSettings):
    """A connection to DataCrunch (Verda), or any TGI, vLLM or SGLang server.

    ``list_models()`` works on containers only, and needs TGI 2.3 or newer. Environment: ``DATACRUNCH_API_KEY``,
    ``VERDA_INFERENCE_KEY``, ``VERDA_API_KEY``; ``DATACRUNCH_BASE_URL``, ``VERDA_BASE_URL``.
    """

    _provider: ClassVar[Provider] = DATACRUNCH
    connection_fields: ClassVar[frozenset[str]] = frozenset({"api"})

    model: ModelName | None = Field(
        default=None,
        description='Name of the model; required on the legacy endpoint only. With `api="openai"` the default is the '
        "one model that the server lists, read once. `model_name` is another name.",
    )

    if TYPE_CHECKING:

        def _api(self) -> API:
            """Return the API to call."""

    def _resolved_base_url(self) -> str:
        return datacrunch_base_url(self.base_url, api=self._api())

    def _check(self) -> None:
        check_model(self.model, self._resolved_base_url())
        foreign = (TGI_ONLY.keys() if self._api() == "openai" else OPENAI_ONLY) & set(self.parameter_fields)
        refuse_foreign(self._api(), {name: getattr(self, name) for name in sorted(foreign)}, ConfigurationError)
        super()._check()

    def _choice_options(self, choices: list[str]) -> dict[str, Any]:
        """Return the parameters that restrict an answer to one of these texts."""
        pattern = "|".join(map(re.escape, choices))
        if self._api() == "openai":
            # vLLM reads the first, SGLang the second; each ignores the other's.
            return {"structured_outputs": {"choice": choices}, "regex": f"({pattern})"}
        return {"grammar": regex_grammar(pattern)}

    # ------------------------------------------------------------------ the server's list of models

    def _endpoint_class(self) -> type[Endpoint[Any]] | None:
        return ServedModelEndpoint if self._api() == "openai" else None

    def _connect(self) -> Endpoint[Any]:
        endpoint = super()._connect()
        if isinstance(endpoint, ServedModelEndpoint):
            endpoint.on_models(self._window_known)
        return endpoint

    def _models_listed(self, models: list[ListedModel]) -> None:
        endpoint = self._endpoint()
        if isinstance(endpoint, ServedModelEndpoint):
            endpoint.store_models(models)

    def _served(self) -> ListedModel | None:
        """Return the server's entry for this object's model, ``None`` if the list was not read. Opens no connection."""
        endpoint = self._slot.endpoint
        return endpoint.served(self.model) if isinstance(endpoint, ServedModelEndpoint) else None

    def _served_window(self) -> int | None:
        endpoint = self._slot.endpoint
        if isinstance(endpoint, ServedModelEndpoint):
            served = endpoint.served(self.model)
            return None if served is None else served.context_window
        return None if endpoint is None else endpoint.server_window

    def _unnamed_model(self) -> str:
        served = self._served()
        if served is not None:
            return served.id
        name = container_name(self._resolved_base_url())
        return "default" if name == "tgi" and self._api() == "openai" else name

    def health(self) -> ServerHealth:
        """Check whether the server can generate. Containers only.

        Returns:
            A result that is true if healthy; otherwise ``message`` is the server's.

        Raises:
            LinkspanError: The server cannot be reached, refuses the key or has no such route.
        """
        with self._errors():
            return health(self._endpoint())

    async def ahealth(self) -> ServerHealth:
        """Check whether the server can generate; see ``health``."""
        with self._errors():
            return await ahealth(self._endpoint())

    def info(self) -> ServerInfo:
        """Return the server's model, version and limits. Containers only. Its window becomes this object's.

        Raises:
            LinkspanError: The call failed, or the server is not TGI.
        """
        with self._errors():
            return self._noted(info(self._endpoint()))

    async def ainfo(self) -> ServerInfo:
        """Return the server's model, version and limits; see ``info``."""
        with self._errors():
            return self._noted(await ainfo(self._endpoint()))

    def _noted(self, server: ServerInfo) -> ServerInfo:
        """Keep the context window that the server reports."""
        self._endpoint().server_window = server.max_total_tokens
        self._window_known()
        return server


class SharedParameters(BaseModel):
    """Parameters that the prompt and chat classes share."""

    do_sample: bool | None = sent_if_set("Sample even if no other parameter turns sampling on.")
    top_k: int | None = sent_if_set("Consider only this many of the most likely tokens, at least 1.")
    typical_p: float | None = sent_if_set("Typical decoding mass, above 0; 1 turns it off.")
    repetition_penalty: float | None = sent_if_set("Penalty above 0 for tokens that already appeared; 1 turns it off.")
    frequency_penalty: float | None = sent_if_set(
        "Penalty, -2.0 to 2.0, that grows with a token's count so far. TGI 1.4 or newer."
    )
    truncate: int | None = sent_if_set("Keep only this many tokens from the end of the prompt.")
    watermark: bool | None = sent_if_set("Watermark the generated text.")
    grammar: dict[str, Any] | None = sent_if_set(
        'Required shape of the answer: `{"type": "json", "value": schema}` or `{"type": "regex", "value": ...}`. '
        "TGI 1.4 or newer."
    )
    adapter_id: str | None = sent_if_set("ID of the LoRA adapter. TGI 2.1 or newer.")
    presence_penalty: float | None = sent_if_set(
        'Penalty, -2.0 to 2.0, for tokens that already appeared; `api="openai"` only.'
    )
    min_p: float | None = sent_if_set(
        'Minimum probability of a token relative to the most likely one, 0 to 1; `api="openai"` only.'
    )


class DataCrunchPromptSettings(DataCrunchSettings, SharedParameters):
    """A text completion model, called by TGI's ``generate`` and ``generate_stream`` or by ``/v1/completions``."""

    argument_aliases: ClassVar[Mapping[str, str]] = {
        **ModelSettings.argument_aliases,
        "max_new_tokens": "max_tokens",
        "stop_sequences": "stop",
    }
    parameter_fields: ClassVar[tuple[str, ...]] = (*GENERATE_FIELDS, "presence_penalty", "min_p")

    api: Literal["generate", "openai"] | None = Field(
        default=None,
        description="API to call: `generate`, TGI's own prompt API; or `openai`, the `/v1/completions` of vLLM and "
        "SGLang. Default: `openai` on Verda's gateway, else `generate`.",
    )
    top_p: float | None = sent_if_set(
        "Nucleus sampling: consider only the most likely tokens up to this sum, above 0; 1 means all."
    )
    seed: int | None = sent_if_set("Seed of the sampling, 0 to 2^64-1, for repeatable answers.")
    best_of: int | None = sent_if_set(
        "Generate this many answers and return the most likely. Needs sampling; works neither in streams nor with "
        "`seed`."
    )
    return_full_text: bool | None = sent_if_set("Return the prompt followed by the answer.")
    details: bool | None = Field(
        default=None,
        description="`False` requests the text only, without finish reason, token counts and tokens. Default: "
        "everything.",
    )
    decoder_input_details: bool | None = sent_if_set(
        "Request the prompt's tokens and their log probabilities, in `prefill`; not in streams."
    )
    top_n_tokens: int | None = sent_if_set(
        "Request this many of the most likely tokens at each position, in `top_tokens`."
    )

    def _prompt_codec(self) -> Codec[Any]:
        """Return the codec of the prompt API."""
        return OpenAIPromptCodec() if self._api() == "openai" else TGICodec()

    def _schema_options(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that restrict an answer to a JSON schema."""
        return {"json_schema": dict(schema)} if self._api() == "openai" else {"grammar": json_grammar(schema)}

    def _api(self) -> API:
        if self.api is not None:
            return self.api
        return "openai" if is_gateway(DATACRUNCH.resolve_base_url(self.base_url)) else "generate"
