"""Settings of the embedding classes for Scaleway."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from linkspan.fields import sent_if_set
from linkspan.options import ModelName  # noqa: TC001  # pydantic reads the annotations at run time
from linkspan.routes.embeddings import EmbeddingCall
from linkspan.settings.scaleway import ScalewaySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.providers.scaleway_embeddings import Embedded

__all__ = ["ScalewayEmbeddingSettings", "instruction_field"]


def instruction_field(before: str) -> Any:
    """Return the field of the text put before each query or document; the frameworks name the second one."""
    return Field(default="", description=f"Text put before each {before}, unchanged: add your own space or line break.")


class ScalewayEmbeddingSettings(ScalewaySettings):
    """An embedding model of Scaleway."""

    model: ModelName = Field(description="Name of the model; `model_name` is another name.")
    dimensions: int | None = sent_if_set(
        "Length of the vectors, for models that support several; any other length in the answer is an error.", gt=0
    )
    query_instruction: str = instruction_field("query")
    chunk_size: int | None = Field(
        default=None,
        gt=0,
        description="Most texts per request. Default: the model's limit (2,048 for qwen3-embedding-8b), or 32 if "
        "unknown. A request holds at most 8 MiB of text, unless a single text is larger.",
    )
    max_concurrency: int = Field(default=4, gt=0, description="Most requests that run at once.")
    blank_texts: Literal["error", "zeros"] = Field(
        default="error",
        description='How to handle empty and blank texts, which cannot be embedded: "error" refuses the call before '
        'sending anything and names them; "zeros" returns a vector of zeros for each.',
    )

    def embed(self, texts: Sequence[str], *, instruction: str = "") -> Embedded:
        """Embed texts and return what the framework's own methods omit: usage, model and request id.

        It sends no events of the framework and uses no cache.

        Args:
            texts: The texts to embed. An empty list sends nothing.
            instruction: Put before each text; none by default.

        Returns:
            ``vectors``, ``usage`` (the sum over all requests), ``model``, ``request_id`` (of a single request),
            ``rate_limit`` (from the last answer's headers).
        """
        with self._errors():
            return self._call().run(texts, instruction, self.max_concurrency)

    async def aembed(self, texts: Sequence[str], *, instruction: str = "") -> Embedded:
        """Embed texts; see ``embed``."""
        with self._errors():
            return await self._call().arun(texts, instruction, self._gate())

    def _gate(self) -> asyncio.Semaphore:
        """Return what bounds the requests of one async call."""
        return asyncio.Semaphore(self.max_concurrency)

    def _call(self) -> EmbeddingCall:
        return EmbeddingCall(
            self._endpoint(), self.model, self.dimensions, self.chunk_size, self.extra_body, self.blank_texts
        )
