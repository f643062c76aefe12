"""LangChain callbacks with Scaleway: tokens as they arrive, usage, and errors.

``python examples/langchain_callbacks.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts
a stand-in on this machine that answers from a script: ``pip install 'linkspan[langchain,sandbox]'``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig

from linkspan.errors import LinkspanError
from linkspan.langchain import ChatScaleway

MODEL = "llama-3.3-70b-instruct"
NO_MODEL = "llama-of-tomorrow"


class Telegraph(BaseCallbackHandler):
    """Prints the events of a call. The same methods serve invoke, stream and their async variants."""

    def on_llm_new_token(self, token: str, **_: Any) -> None:  # type: ignore[override]  # _ takes the omitted arguments
        """Print a piece of the answer."""
        print(token, end="|" if token else "", flush=True)

    def on_llm_end(self, response: Any, **_: Any) -> None:
        """Print the finish reason and the usage."""
        message = response.generations[0][0].message
        ended = message.response_metadata["finish_reason"]
        taken = message.usage_metadata
        print(f"\n({ended}: {taken['input_tokens']} tokens in, {taken['output_tokens']} out)")

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        """Print the kind of failure; the error's text has details, but never a key or a prompt."""
        if isinstance(error, LinkspanError):
            print(f"({type(error).__name__}, HTTP {error.status_code}, retryable: {error.is_retryable})")


def main() -> None:
    """Stream one answer, get another that is cut short, and call a model that does not exist."""
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        chat = stack.enter_context(ChatScaleway(model=MODEL, temperature=0, max_tokens=200, **where))
        prompt = ChatPromptTemplate.from_template("Explain in one sentence: {word}")
        config: RunnableConfig = {"callbacks": [Telegraph()]}

        for _ in (prompt | chat | StrOutputParser()).stream({"word": "linkspan"}, config):
            pass

        # With ``streaming=True``, the model streams inside invoke too, so that the handler gets tokens.
        short = ChatScaleway(model=MODEL, max_tokens=5, streaming=True, **where)
        (prompt | stack.enter_context(short)).invoke({"word": "ferry"}, config)

        lost = stack.enter_context(ChatScaleway(model=NO_MODEL, **where))
        try:
            (prompt | lost).invoke({"word": "quay"}, config)
        except LinkspanError as error:
            print(f"The chain also raised it: {type(error).__name__}")


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    rules = [
        Rule("A hinged bridge between a quay and a ship.", when="linkspan"),
        Rule("A ship that carries people and vehicles to and fro.", when="ferry"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
