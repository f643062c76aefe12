"""What the tests of Scaleway construct: models that ask what the tape says, with the tape's key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.langchain import ChatScaleway
from llama_index.llms.scaleway import Scaleway

if TYPE_CHECKING:
    from tests.cassettes.tape import Tape

__all__ = ["chat_model", "connection", "llm"]


def connection(tape: Tape, *, model: str | None = None) -> dict[str, Any]:
    """Arguments of every class: where to ask, with which key, and no second try."""
    return {"model": model or tape.model, "base_url": tape.base_url, "api_key": tape.key, "max_retries": 0}


def chat_model(tape: Tape, *, model: str | None = None, **settings: Any) -> ChatScaleway:
    """LangChain's."""
    return ChatScaleway(**{**connection(tape, model=model), "temperature": 0, "max_tokens": 64, **settings})


def llm(tape: Tape, *, model: str | None = None, **settings: Any) -> Scaleway:
    """LlamaIndex's."""
    return Scaleway(**{**connection(tape, model=model), "temperature": 0, "max_tokens": 64, **settings})
