"""A LangChain chain with Scaleway: a prompt, a chat model and a parser, streamed; then the same in batch.

``python examples/langchain_chain.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a
stand-in on this machine that answers from a script: ``pip install 'linkspan[langchain,sandbox]'``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig

from linkspan.langchain import ChatScaleway

MODEL = "llama-3.3-70b-instruct"


def main() -> None:
    """Stream one answer, then ask two questions at a time."""
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        chat = stack.enter_context(ChatScaleway(model=MODEL, temperature=0, max_tokens=200, **where))

        prompt = ChatPromptTemplate.from_messages([("system", "Answer in one sentence."), ("human", "{question}")])
        chain = prompt | chat | StrOutputParser()
        usage = UsageMetadataCallbackHandler()
        config: RunnableConfig = {"callbacks": [usage]}

        for piece in chain.stream({"question": "What is a linkspan?"}, config):
            print(piece, end="", flush=True)
        print()

        questions = [{"question": "What is a ferry?"}, {"question": "What is a quay?"}]
        for answer in chain.batch(questions, config):
            print("-", answer)

        for model, tokens in usage.usage_metadata.items():
            print(f"{model}: {tokens['input_tokens']} tokens in, {tokens['output_tokens']} out")


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    rules = [
        Rule("A linkspan is a hinged bridge between a quay and a ship.", when="linkspan"),
        Rule("A ferry is a ship that carries people and vehicles to and fro.", when="ferry"),
        Rule("A quay is a wall at the water's edge where ships are loaded.", when="quay"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
