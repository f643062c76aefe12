"""The list of models, for every class whose API has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.routes.models import alist_models, list_models

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from linkspan.endpoint import Endpoint
    from linkspan.providers.chat_completions.models import ListedModel

__all__ = ["ListsModels"]


class ListsModels:
    """Can ask its API which models it has."""

    # A plain class, as it has no fields: each pydantic class makes the import longer.

    if TYPE_CHECKING:

        def _endpoint(self) -> Endpoint[Any]: ...

        def _errors(self) -> AbstractContextManager[None]: ...

    def _models_listed(self, models: list[ListedModel]) -> None:
        """Called with each list that was read: a class keeps what it needs of it."""

    def list_models(self) -> list[ListedModel]:
        """Ask the API which models it has: names of all kinds, joined with what the catalogue knows of them.

        That a model is listed does not say that the key may use it.

        Returns:
            ``id``, ``owned_by``, ``created``, ``extra`` (all else that the API says) and ``info`` (context window,
            output cap, prices…; ``None`` for a model that the catalogue does not know).

        Raises:
            LinkspanError: The call failed.
        """
        with self._errors():
            models = list_models(self._endpoint())
        self._models_listed(models)
        return models

    async def alist_models(self) -> list[ListedModel]:
        """Ask the API which models it has; see ``list_models``."""
        with self._errors():
            models = await alist_models(self._endpoint())
        self._models_listed(models)
        return models
