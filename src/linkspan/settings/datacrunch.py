"""DataCrunch (Verda), and any TGI, vLLM or SGLang server: settings of the completion classes, and shared ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, Field

from linkspan.errors import ConfigurationError
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

    ``list_models()`` is answered by containers only, by TGI since 2.3. Environment: ``DATACRUNCH_API_KEY``,
    ``VERDA_INFERENCE_KEY``, ``VERDA_API_KEY``; ``DATACRUNCH_BASE_URL``, ``VERDA_BASE_URL``.
    """

    _provider: ClassVar[Provider] = DATACRUNCH
    connection_fields: ClassVar[frozenset[str]] = frozenset({"api"})

    model: ModelName | None = Field(
        default=None,
        description='Name of the model; needed on the legacy endpoint only. With `api="openai"` the default is the '
        "one that the server lists, asked for once. `model_name` is another name.",
    )

    if TYPE_CHECKING:

        def _api(self) -> API:
            """Return the API that answers."""

    def _resolved_base_url(self) -> str:
        return datacrunch_base_url(self.base_url, api=self._api())

    def _check(self) -> None:
        check_model(self.model, self._resolved_base_url())
        foreign = (TGI_ONLY.keys() if self._api() == "openai" else OPENAI_ONLY) & set(self.parameter_fields)
        refuse_foreign(self._api(), {name: getattr(self, name) for name in sorted(foreign)}, ConfigurationError)
        super()._check()

    def _choice_options(self, choices: list[str]) -> dict[str, Any]:
        """Return the parameters that hold an answer to one of these texts."""
        pattern = "|".join(map(re.escape, choices))
        if self._api() == "openai":
            # The first is vLLM's, the second SGLang's; each ignores the other's.
            return {"structured_outputs": {"choice": choices}, "regex": f"({pattern})"}
        return {"grammar": regex_grammar(pattern)}

    # ------------------------------------------------------------------ the server's own list of models

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
            endpoint.note_models(models)

    def _served(self) -> ListedModel | None:
        """Return the server's word on this object's model, ``None`` if it was not asked. No network."""
        endpoint = self._slot.endpoint
        return endpoint.served(self.model) if isinstance(endpoint, ServedModelEndpoint) else None

    def _served_window(self) -> int | None:
        endpoint = self._slot.endpoint
        if isinstance(endpoint, ServedModelEndpoint):
            served = endpoint.served(self.model)
            return None if served is None else served.context_window
        return None if endpoint is None else endpoint.told_window

    def _unnamed_model(self) -> str:
        served = self._served()
        if served is not None:
            return served.id
        name = container_name(self._resolved_base_url())
        return "default" if name == "tgi" and self._api() == "openai" else name

    def health(self) -> ServerHealth:
        """Ask whether the server can generate: a truth value, with the server's words if not. Containers only.

        Raises:
            LinkspanError: It cannot be asked.
        """
        with self._errors():
            return health(self._endpoint())

    async def ahealth(self) -> ServerHealth:
        """Ask whether the server can generate; see ``health``."""
        with self._errors():
            return await ahealth(self._endpoint())

    def info(self) -> ServerInfo:
        """Ask what the server runs, and its limits. Containers only. Its window is then that of this object.

        Raises:
            LinkspanError: It cannot be asked.
        """
        with self._errors():
            return self._told(info(self._endpoint()))

    async def ainfo(self) -> ServerInfo:
        """Ask what the server runs; see ``info``."""
        with self._errors():
            return self._told(await ainfo(self._endpoint()))

    def _told(self, told: ServerInfo) -> ServerInfo:
        """Keep the window that a server told of itself."""
        self._endpoint().told_window = told.max_total_tokens
        self._window_known()
        return told


class SharedParameters(BaseModel):
    """The parameters that the prompt and chat classes have in common."""

    do_sample: bool | None = Field(
        default=None,
        description="Sample also where no other parameter makes the server sample. Not sent unless set.",
    )
    top_k: int | None = Field(
        default=None, description="Consider only this many of the likeliest tokens, from 1. Not sent unless set."
    )
    typical_p: float | None = Field(
        default=None, description="Typical decoding mass, more than 0; 1 means off. Not sent unless set."
    )
    repetition_penalty: float | None = Field(
        default=None,
        description="Discourages tokens that appeared already, more than 0; 1 means off. Not sent unless set.",
    )
    frequency_penalty: float | None = Field(
        default=None,
        description="Discourages tokens by how often they appeared, -2.0 to 2.0; since TGI 1.4. Not sent unless set.",
    )
    truncate: int | None = Field(
        default=None, description="Keep only so many of the prompt's last tokens. Not sent unless set."
    )
    watermark: bool | None = Field(default=None, description="Mark the answer as a machine's. Not sent unless set.")
    grammar: dict[str, Any] | None = Field(
        default=None,
        description='What the answer must look like: `{"type": "json", "value": schema}` or `{"type": "regex", '
        '"value": ...}`; since TGI 1.4. Not sent unless set.',
    )
    adapter_id: str | None = Field(default=None, description="LoRA adapter to use; since TGI 2.1. Not sent unless set.")
    presence_penalty: float | None = Field(
        default=None,
        description='Discourages tokens that appeared already, -2.0 to 2.0; `api="openai"` only. Not sent unless set.',
    )
    min_p: float | None = Field(
        default=None,
        description="Consider only tokens that are at least so likely in relation to the likeliest, 0 to 1; "
        '`api="openai"` only. Not sent unless set.',
    )


class DataCrunchPromptSettings(DataCrunchSettings, SharedParameters):
    """A model of TGI's ``generate`` and ``generate_stream``, or of ``/v1/completions``."""

    argument_aliases: ClassVar[Mapping[str, str]] = {
        **ModelSettings.argument_aliases,
        "max_new_tokens": "max_tokens",
        "stop_sequences": "stop",
    }
    parameter_fields: ClassVar[tuple[str, ...]] = (*GENERATE_FIELDS, "presence_penalty", "min_p")

    api: Literal["generate", "openai"] | None = Field(
        default=None,
        description="`generate`, TGI's own prompts; or `openai`, `/v1/completions` of vLLM and SGLang. Default: "
        "`openai` on Verda's gateway, else `generate`.",
    )
    top_p: float | None = Field(
        default=None,
        description="Nucleus sampling: consider the likeliest tokens up to this probability, more than 0; 1 means all. "
        "Not sent unless set.",
    )
    seed: int | None = Field(default=None, description="Seed of the sampling, 0 to 2^64-1. Not sent unless set.")
    best_of: int | None = Field(
        default=None,
        description="Generate this many answers and return the likeliest. Not with streams, not with `seed`, only when "
        "sampling. Not sent unless set.",
    )
    return_full_text: bool | None = Field(
        default=None, description="Put the prompt before the answer. Not sent unless set."
    )
    details: bool | None = Field(
        default=None,
        description="`False` asks for the text alone, without finish reason, counts and tokens. Default: asked for.",
    )
    decoder_input_details: bool | None = Field(
        default=None,
        description="Ask for the prompt's tokens and their probabilities, in `prefill`; not with streams. Not sent "
        "unless set.",
    )
    top_n_tokens: int | None = Field(
        default=None,
        description="Ask for this many of the likeliest tokens at each place, in `top_tokens`. Not sent unless set.",
    )

    def _prompt_codec(self) -> Codec[Any]:
        """Return the codec of the prompt API."""
        return OpenAIPromptCodec() if self._api() == "openai" else TGICodec()

    def _schema_options(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that hold an answer to a JSON schema."""
        return {"json_schema": dict(schema)} if self._api() == "openai" else {"grammar": json_grammar(schema)}

    def _api(self) -> API:
        if self.api is not None:
            return self.api
        return "openai" if is_gateway(DATACRUNCH.resolve_base_url(self.base_url)) else "generate"
