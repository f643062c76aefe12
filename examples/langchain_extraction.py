"""Extract objects from texts with LangChain and Scaleway: one text, then a batch in which some contain none.

``python examples/langchain_extraction.py`` calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts
a stand-in on this machine that answers from a script: ``pip install 'linkspan[langchain,sandbox]'``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Optional

from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field

from linkspan.langchain import ChatScaleway

MODEL = "llama-3.3-70b-instruct"
LETTERS = (
    "We are two adults with a car and want to sail to Ostra on Friday, and back on Sunday.",
    "Is there a café on board?",
    "One bicycle to Vinnholm, on Monday if you please.",
)


class Crossing(BaseModel):
    """A crossing that somebody wants to book."""

    port: str
    day: str = Field(description="A day of the week, in English")
    vehicle: Optional[str] = Field(description="car, bicycle, ..., or null for those on foot")  # noqa: UP045  # 3.10


class Booking(BaseModel):
    """All crossings that a letter asks for; none where it asks for none."""

    crossings: list[Crossing]


def main() -> None:
    """Extract from one letter, then from all."""
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        chat = stack.enter_context(ChatScaleway(model=MODEL, temperature=0, max_tokens=500, **where))
        prompt = ChatPromptTemplate([("system", "Read what is to be booked out of the letter."), ("human", "{letter}")])

        # The schema is a request parameter, and the service enforces it.
        for crossing in (prompt | chat.with_structured_output(Booking)).invoke({"letter": LETTERS[0]}).crossings:
            print(repr(crossing))

        # include_raw returns the message too: its usage, and unparsable text instead of an exception.
        reader = prompt | chat.with_structured_output(Booking, include_raw=True)
        letters = [{"letter": letter} for letter in LETTERS]
        for letter, outcome in zip(LETTERS, reader.batch(letters, {"max_concurrency": 2}), strict=True):
            found = outcome["parsed"]
            said = f"{len(found.crossings)} to book" if found else f"cannot be read: {outcome['raw'].text!r}"
            print(f"{said} ({outcome['raw'].usage_metadata['output_tokens']} tokens): {letter}")


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Rule, run  # noqa: PLC0415  # needed only without a key

    there = '{"port": "Ostra", "day": "Friday", "vehicle": "car"}'
    back = '{"port": "home", "day": "Sunday", "vehicle": "car"}'
    rules = [
        Rule(f'{{"crossings": [{there}, {back}]}}', when="two adults"),
        Rule('{"crossings": []}', when="café"),
        Rule('{"crossings": [{"port": "Vinnholm", "day": "Mon', when="bicycle"),
    ]
    sandbox = stack.enter_context(run(rules=rules))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
