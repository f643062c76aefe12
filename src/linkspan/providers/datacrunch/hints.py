"""What to add to an error that comes of speaking one server's API to another server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.errors import AuthenticationError, InvalidRequestError, InvalidResponseError, NotFoundError

if TYPE_CHECKING:
    from linkspan.errors import LinkspanError

__all__ = ["USE_OPENAI", "hint_for_openai", "hint_for_tgi", "is_sglang_answer", "sglang_answer"]

#: The way out for vLLM and SGLang.
USE_OPENAI = 'If this is a vLLM or SGLang server, choose api="openai".'
_USE_TGI = 'If this is a TGI server, choose api="messages" or "generate".'
_CHECK_URL = (
    "Check base_url: it is what stands before the route (https://containers.datacrunch.io/<deployment>), and the "
    "deployment has to exist."
)
_CHECK_KEY = "Check the key: it is an inference API key, not the id and secret of the cloud API."

#: Words by which TGI refuses what is OpenAI's: those of its parser, and of its grammars.
_WORDS_OF_TGI = ("Failed to deserialize the JSON body", "grammar is not ")
#: Words by which vLLM, SGLang and llama.cpp refuse what is TGI's: its response format, its ``inputs``.
_REFUSALS_OF_TGI = ("response_format", "input_ids")


def hint_for_tgi(error: LinkspanError) -> LinkspanError:
    """Add to an error of TGI's routes what may be behind it."""
    if isinstance(error, NotFoundError):
        # TGI has one model and ignores its name; vLLM knows no model "tgi".
        names_model = "model" in error.message.lower()
        error.with_hint(USE_OPENAI if names_model else f"{_CHECK_URL} {USE_OPENAI}")
    elif isinstance(error, AuthenticationError):
        error.with_hint(_CHECK_KEY)
    elif isinstance(error, InvalidRequestError) and any(word in error.message for word in _REFUSALS_OF_TGI):
        error.with_hint(USE_OPENAI)
    return error


def hint_for_openai(error: LinkspanError) -> LinkspanError:
    """Add to an error of the OpenAI routes what may be behind it."""
    if isinstance(error, NotFoundError):
        if "model" in error.message.lower():
            error.with_hint("list_models() says which models the server has; without model, the one it serves is used.")
        else:
            error.with_hint(f"{_CHECK_URL} {_USE_TGI}")
    elif isinstance(error, AuthenticationError):
        error.with_hint(_CHECK_KEY)
    elif isinstance(error, InvalidRequestError) and any(words in error.message for words in _WORDS_OF_TGI):
        error.with_hint('This is a TGI server: choose api="messages" or "generate".')
    return error


def is_sglang_answer(parsed: Any) -> bool:
    """Whether an answer or event is one of SGLang's own ``/generate``: ``{text, output_ids, meta_info}``."""
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    return isinstance(parsed, dict) and "meta_info" in parsed and "token" not in parsed


def sglang_answer(provider: str, request_id: str | None) -> InvalidResponseError:
    """Return the error that stands for an answer of SGLang's own ``/generate``."""
    return InvalidResponseError(
        f"{provider}: this is SGLang's own /generate (it answers text and meta_info), not TGI's: choose "
        'api="openai".',
        provider=provider,
        request_id=request_id,
    )
