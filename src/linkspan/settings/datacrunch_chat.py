"""DataCrunch (Verda), and any TGI server: the settings of the chat classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from linkspan.options import ChatSettings
from linkspan.providers.datacrunch import DATACRUNCH, datacrunch_base_url
from linkspan.providers.datacrunch.chat_apis import ChatAPI, chat_codec
from linkspan.providers.datacrunch.provider import is_legacy
from linkspan.settings.datacrunch import DataCrunchSettings, SharedParameters
from linkspan.settings.templated import TemplateSettings

if TYPE_CHECKING:
    from linkspan.providers.codec import Codec

__all__ = ["DataCrunchChatSettings"]


class DataCrunchChatSettings(DataCrunchSettings, TemplateSettings, SharedParameters, ChatSettings):
    """A chat model of a TGI server."""

    parameter_fields: ClassVar[tuple[str, ...]] = (*ChatSettings.parameter_fields, *SharedParameters.model_fields)
    connection_fields: ClassVar[frozenset[str]] = frozenset({"api"})

    api: ChatAPI | None = Field(
        default=None,
        description="`generate`, through a chat template; or `messages`, TGI's own chat route, on containers only. "
        "Default: `generate` with a `chat_template` and on the legacy endpoint, else `messages`.",
    )

    def _chat_api(self) -> ChatAPI:
        """Return the route that answers."""
        if self.api is not None:
            return self.api
        legacy = is_legacy(DATACRUNCH.resolve_base_url(self.base_url).rstrip("/"))
        return "generate" if legacy or self.chat_template is not None else "messages"

    @property
    def _writes_prompts(self) -> bool:
        """Whether conversations are written by a chat template."""
        return self._chat_api() == "generate"

    def _resolved_base_url(self) -> str:
        return datacrunch_base_url(self.base_url, api=self._chat_api())

    def _create_codec(self) -> Codec[Any]:
        return chat_codec(
            api=self._chat_api(),
            model=self.model,
            chat_template=self.chat_template,
            split_reasoning=self.split_reasoning,
        )
