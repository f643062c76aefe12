"""DataCrunch (Verda) and any TGI, vLLM or SGLang server: ``generate``, the Messages API, the OpenAI API."""

from linkspan.providers.datacrunch.chat import DataCrunchChatCodec
from linkspan.providers.datacrunch.codec import TGICodec
from linkspan.providers.datacrunch.grammar import grammar_of, json_grammar, plain_schema, regex_grammar
from linkspan.providers.datacrunch.openai_chat import OpenAIChatCodec
from linkspan.providers.datacrunch.openai_prompt import OpenAIPromptCodec
from linkspan.providers.datacrunch.parameters import DEFAULT_MAX_NEW_TOKENS, GENERATE_FIELDS
from linkspan.providers.datacrunch.provider import DATACRUNCH, check_model, container_name, datacrunch_base_url
from linkspan.providers.datacrunch.server import ServerHealth, ServerInfo

__all__ = [
    "DATACRUNCH",
    "DEFAULT_MAX_NEW_TOKENS",
    "GENERATE_FIELDS",
    "DataCrunchChatCodec",
    "OpenAIChatCodec",
    "OpenAIPromptCodec",
    "ServerHealth",
    "ServerInfo",
    "TGICodec",
    "check_model",
    "container_name",
    "datacrunch_base_url",
    "grammar_of",
    "json_grammar",
    "plain_schema",
    "regex_grammar",
]
