"""linkspan's LlamaIndex classes before their own conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.llama_index import (
    ChatDataCrunch,
    ChatLLMEngine,
    DataCrunch,
    GraySwan,
    LLMEngine,
    Scaleway,
    ScalewayEmbedding,
    ScalewayRerank,
)
from linkspan_sandbox import LLMEngineOptions
from linkspan_sandbox.conformance.llama_index import EmbeddingTests, LLMTests, RerankTests

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox


class TestScaleway(LLMTests):
    import_path = "llama_index.llms.scaleway"
    key_environment = "SCW_SECRET_KEY"
    data_role_settings = {"data_role": "fenced"}  # noqa: RUF012
    caches_prompts = True

    def make_llm(self, base_url: str, **settings: Any) -> Scaleway:
        return Scaleway(**{"model": "qwen3.6-35b-a3b", "base_url": base_url, **settings})


class TestScalewayResponses(LLMTests):
    """The same over the Responses API."""

    import_path = "llama_index.llms.scaleway"
    key_environment = "SCW_SECRET_KEY"
    supports_tool_images = False
    streams_chat_chunks = False
    reasoning_fields = ()
    data_role_settings = {"data_role": "fenced"}  # noqa: RUF012
    caches_prompts = True

    def make_llm(self, base_url: str, **settings: Any) -> Scaleway:
        return Scaleway(**{"model": "gpt-oss-120b", "api": "responses", "base_url": base_url, **settings})


class TestGraySwan(LLMTests):
    """Its API has text alone, no JSON mode, and neither counts nor log probabilities in streams."""

    import_path = "llama_index.llms.gray_swan"
    key_environment = "GRAYSWAN_API_KEY"
    supports_images = False
    supports_reasoning = False
    supports_json_schema = False
    logprob_options = None
    streams_usage = False
    data_role_settings = {}  # noqa: RUF012

    def base_url(self, sandbox: Sandbox) -> str:
        return sandbox.gray_swan_url

    def make_llm(self, base_url: str, **settings: Any) -> GraySwan:
        return GraySwan(**{"base_url": base_url, **settings})


class TestLLMEngine(LLMTests):
    """Its v1 takes prompts. It does not say why an answer ended, nor always that it did; counting is up to vLLM."""

    sandbox_settings = {"llm_engine_options": LLMEngineOptions(stream_counts=True, obeys_guides=True)}  # noqa: RUF012
    tells_of_early_end = False
    import_path = "llama_index.llms.llm_engine"
    key_environment = "SCALE_API_KEY"
    is_chat_model = False
    supports_tools = False
    supports_images = False
    supports_reasoning = False
    logprob_options = {"return_token_log_probs": True}  # noqa: RUF012
    reports_finish_reason = False
    has_end_event = False
    data_role_settings = {"data_role": "fenced"}  # noqa: RUF012

    def base_url(self, sandbox: Sandbox) -> str:
        return sandbox.llm_engine_url

    def make_llm(self, base_url: str, **settings: Any) -> LLMEngine:
        return LLMEngine(**{"model": "llama-2-7b", "guided_decoding": True, "base_url": base_url, **settings})


class TestChatLLMEngine(LLMTests):
    import_path = "llama_index.llms.llm_engine"
    key_environment = "SCALE_API_KEY"
    supports_tool_images = False
    think_tag_settings = {"split_reasoning": True}  # noqa: RUF012
    has_end_event = False
    data_role_settings = {"data_role": "fenced"}  # noqa: RUF012

    def base_url(self, sandbox: Sandbox) -> str:
        return sandbox.llm_engine_url

    def make_llm(self, base_url: str, **settings: Any) -> ChatLLMEngine:
        return ChatLLMEngine(**{"model": "llama-3-8b-instruct", "base_url": base_url, **settings})


class TestDataCrunch(LLMTests):
    """Its ``generate`` takes prompts."""

    import_path = "llama_index.llms.datacrunch"
    key_environment = "DATACRUNCH_API_KEY"
    is_chat_model = False
    supports_tools = False
    supports_images = False
    supports_reasoning = False
    logprob_options = {}  # noqa: RUF012  # always there
    has_end_event = False
    data_role_settings = {"data_role": "fenced"}  # noqa: RUF012

    def base_url(self, sandbox: Sandbox) -> str:
        return sandbox.datacrunch_url

    def make_llm(self, base_url: str, **settings: Any) -> DataCrunch:
        return DataCrunch(**{"model": "mixtral", "base_url": base_url, **settings})


class TestChatDataCrunch(LLMTests):
    import_path = "llama_index.llms.datacrunch"
    key_environment = "DATACRUNCH_API_KEY"
    supports_reasoning = False
    think_tag_settings = {"split_reasoning": True}  # noqa: RUF012
    data_role_settings = {"data_role": "fenced"}  # noqa: RUF012

    def base_url(self, sandbox: Sandbox) -> str:
        return sandbox.tgi_url

    def make_llm(self, base_url: str, **settings: Any) -> ChatDataCrunch:
        return ChatDataCrunch(**{"base_url": base_url, **settings})


class TestChatDataCrunchOpenAI(LLMTests):
    """A vLLM container."""

    import_path = "llama_index.llms.datacrunch"
    key_environment = "DATACRUNCH_API_KEY"

    def base_url(self, sandbox: Sandbox) -> str:
        return sandbox.vllm_url

    def make_llm(self, base_url: str, **settings: Any) -> ChatDataCrunch:
        return ChatDataCrunch(**{"model": "sandbox", "api": "openai", "base_url": base_url, **settings})


class TestDataCrunchOpenAI(LLMTests):
    """Prompts to a vLLM container."""

    import_path = "llama_index.llms.datacrunch"
    key_environment = "DATACRUNCH_API_KEY"
    is_chat_model = False
    supports_tools = False
    supports_images = False
    supports_reasoning = False
    logprob_options = {"logprobs": 1}  # noqa: RUF012
    data_role_settings = {"data_role": "fenced"}  # noqa: RUF012

    def base_url(self, sandbox: Sandbox) -> str:
        return sandbox.vllm_url

    def make_llm(self, base_url: str, **settings: Any) -> DataCrunch:
        return DataCrunch(**{"model": "sandbox", "api": "openai", "base_url": base_url, **settings})


class TestScalewayEmbedding(EmbeddingTests):
    key_environment = "SCW_SECRET_KEY"
    query_settings = {"query_instruction": "Q: ", "text_instruction": "T: "}  # noqa: RUF012

    def make_embedding(self, base_url: str, **settings: Any) -> ScalewayEmbedding:
        return ScalewayEmbedding(
            **{"model": "qwen3-embedding-8b", "dimensions": self.dimensions, "base_url": base_url, **settings}
        )

    def usage_of(self, embedding: ScalewayEmbedding, texts: list[str]) -> Any:
        return embedding.embed(texts).usage.input_tokens


class TestScalewayRerank(RerankTests):
    key_environment = "SCW_SECRET_KEY"

    def make_rerank(self, base_url: str, **settings: Any) -> ScalewayRerank:
        return ScalewayRerank(**{"base_url": base_url, **settings})
