"""``list_models()`` for every class whose API lists its models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.routes.models import alist_models, list_models

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from linkspan.endpoint import Endpoint
    from linkspan.providers.chat_completions.models import ListedModel

__all__ = ["ListsModels"]


class ListsModels:
    """Mixin: lists the API's models."""

    # Plain, because it has no fields: each pydantic class slows down the import.

    if TYPE_CHECKING:

        def _endpoint(self) -> Endpoint[Any]: ...

        def _errors(self) -> AbstractContextManager[None]: ...

    def _models_listed(self, models: list[ListedModel]) -> None:
        """Hook, called with each list that was read."""

    def list_models(self) -> list[ListedModel]:
        """List the API's models of all kinds, joined with the catalogue's facts about them.

        A key may not be allowed to use every listed model.

        Returns:
            ``id``, ``owned_by``, ``created``, ``extra`` (all else that the API returns) and ``info`` (context window,
            output limit, prices…; ``None`` for a model that is not in the catalogue).

        Raises:
            LinkspanError: The call failed.
        """
        with self._errors():
            models = list_models(self._endpoint())
        self._models_listed(models)
        return models

    async def alist_models(self) -> list[ListedModel]:
        """List the API's models; see ``list_models``."""
        with self._errors():
            models = await alist_models(self._endpoint())
        self._models_listed(models)
        return models
