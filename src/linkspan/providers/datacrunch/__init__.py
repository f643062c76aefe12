"""DataCrunch (Verda) and every other TGI server: ``generate``, ``generate_stream`` and the Messages API."""

from linkspan.providers.datacrunch.chat import DataCrunchChatCodec
from linkspan.providers.datacrunch.codec import TGICodec
from linkspan.providers.datacrunch.deferred import (
    DeferredCall,
    acall_status,
    acomplete_deferred,
    afetch,
    asubmit,
    call_status,
    complete_deferred,
    fetch,
    submit,
)
from linkspan.providers.datacrunch.grammar import grammar_of, json_grammar, plain_schema, regex_grammar
from linkspan.providers.datacrunch.parameters import DEFAULT_MAX_NEW_TOKENS, GENERATE_FIELDS
from linkspan.providers.datacrunch.provider import DATACRUNCH, check_model, datacrunch_base_url
from linkspan.providers.datacrunch.server import ServerHealth, ServerInfo

__all__ = [
    "DATACRUNCH",
    "DEFAULT_MAX_NEW_TOKENS",
    "GENERATE_FIELDS",
    "DataCrunchChatCodec",
    "DeferredCall",
    "ServerHealth",
    "ServerInfo",
    "TGICodec",
    "acall_status",
    "acomplete_deferred",
    "afetch",
    "asubmit",
    "call_status",
    "check_model",
    "complete_deferred",
    "datacrunch_base_url",
    "fetch",
    "grammar_of",
    "json_grammar",
    "plain_schema",
    "regex_grammar",
    "submit",
]
