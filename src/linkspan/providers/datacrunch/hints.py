"""Hints for errors of calling one server's API on another server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.errors import AuthenticationError, InvalidRequestError, InvalidResponseError, NotFoundError
from linkspan.providers.datacrunch.provider import DATACRUNCH

if TYPE_CHECKING:
    from linkspan.errors import LinkspanError

__all__ = ["USE_OPENAI", "hint_for_openai", "hint_for_tgi", "is_sglang_answer", "sglang_answer"]

#: Advice for vLLM and SGLang.
USE_OPENAI = 'If this is a vLLM or SGLang server, choose api="openai".'
_USE_TGI = 'If this is a TGI server, choose api="messages" or "generate".'
_CHECK_URL = (
    "Check base_url: it must be the URL before the route (https://containers.datacrunch.io/<deployment>), and the "
    "deployment must exist."
)
_CHECK_KEY = "Check the key: it must be an inference API key, not the id and secret of the cloud API."

#: In TGI's refusals of OpenAI's fields, from its JSON parser and its grammars.
_WORDS_OF_TGI = ("Failed to deserialize the JSON body", "grammar is not ")
#: In refusals of TGI's fields by vLLM, SGLang and llama.cpp: its response format, its ``inputs``.
_REFUSALS_OF_TGI = ("response_format", "input_ids")


def hint_for_tgi(error: LinkspanError) -> LinkspanError:
    """Add hints on the likely cause to an error of TGI's routes."""
    if isinstance(error, NotFoundError):
        # TGI ignores the model's name; vLLM does not know a model "tgi".
        names_model = "model" in error.message.lower()
        error.with_hint(USE_OPENAI if names_model else f"{_CHECK_URL} {USE_OPENAI}")
    elif isinstance(error, AuthenticationError):
        error.with_hint(_CHECK_KEY)
    elif isinstance(error, InvalidRequestError) and any(word in error.message for word in _REFUSALS_OF_TGI):
        error.with_hint(USE_OPENAI)
    return error


def hint_for_openai(error: LinkspanError) -> LinkspanError:
    """Add hints on the likely cause to an error of the OpenAI routes."""
    if isinstance(error, NotFoundError):
        if "model" in error.message.lower():
            error.with_hint("list_models() returns the server's models; leave model out to use the only one.")
        else:
            error.with_hint(f"{_CHECK_URL} {_USE_TGI}")
    elif isinstance(error, AuthenticationError):
        error.with_hint(_CHECK_KEY)
    elif isinstance(error, InvalidRequestError) and any(words in error.message for words in _WORDS_OF_TGI):
        error.with_hint('This is a TGI server: choose api="messages" or "generate".')
    return error


def is_sglang_answer(parsed: Any) -> bool:
    """Whether an answer or event comes from SGLang's ``/generate``: ``{text, output_ids, meta_info}``."""
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    return isinstance(parsed, dict) and "meta_info" in parsed and "token" not in parsed


def sglang_answer(request_id: str | None) -> InvalidResponseError:
    """Return the error for an answer of SGLang's ``/generate``."""
    return InvalidResponseError(
        f"{DATACRUNCH.name}: this is SGLang's own /generate (it answers text and meta_info), not TGI's: choose "
        'api="openai".',
        provider=DATACRUNCH.name,
        request_id=request_id,
    )
