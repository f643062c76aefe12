"""``list_models()`` for LangChain's classes whose API has a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan import model_listing
from linkspan.langchain.errors import converted_errors

if TYPE_CHECKING:
    from linkspan.endpoint import Endpoint
    from linkspan.providers.chat_completions.models import ListedModel

__all__ = ["ListsModels"]


class ListsModels:
    """Can ask its API which models it has. The codec must be a ``linkspan.model_listing.ModelsCodec``."""

    # A plain class, as it has no fields: each pydantic class makes the import longer.

    if TYPE_CHECKING:

        def _connection(self) -> Endpoint[Any]: ...

    def list_models(self) -> list[ListedModel]:
        """Ask the API which models it has: names of all kinds, joined with what the catalogue knows of them.

        That a model is listed does not say that the key may use it.

        Returns:
            ``id``, ``owned_by``, ``created``, ``extra`` (all else that the API says) and ``info`` (context window,
            output cap, prices…; ``None`` for a model that the catalogue does not know).

        Raises:
            ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) when the call fails.
        """
        with converted_errors():
            return model_listing.list_models(self._connection())

    async def alist_models(self) -> list[ListedModel]:
        """Ask the API which models it has; see ``list_models``."""
        with converted_errors():
            return await model_listing.alist_models(self._connection())
