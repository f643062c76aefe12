"""LangChain's suites for embeddings on ``ScalewayEmbeddings``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from linkspan.langchain import ScalewayEmbeddings

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from tests.cassettes.tape import Tape


class TestScalewayEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ScalewayEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "qwen3-embedding-8b", "api_key": "any-key"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"SCW_SECRET_KEY": "env-key"}, {"model": "qwen3-embedding-8b"}, {"api_key": "env-key"}


@pytest.mark.recorded_from("scripted-scaleway")
class TestScalewayEmbeddings(EmbeddingsIntegrationTests):
    tape: Tape

    @pytest.fixture(autouse=True)
    def _tape(self, tape: Tape) -> None:
        self.tape = tape

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ScalewayEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        where = {"base_url": self.tape.base_url, "api_key": self.tape.key, "max_retries": 0}
        return {"model": "qwen3-embedding-8b", "dimensions": 64, **where}
