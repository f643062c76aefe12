"""``linkspan chat``: talk to a model, streamed; or ask one question, for scripts."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from linkspan.assembler import Assembler
from linkspan.commands import console
from linkspan.conversation import ChatRequest, Message, Text
from linkspan.errors import LinkspanError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import Completion
    from linkspan.endpoint import Endpoint

__all__ = ["Conversation", "ask_once", "talk"]


class Conversation:
    """A conversation with one model; turns are kept and sent along.

    Args:
        endpoint: The API.
        model: The model; ``None`` where the server has only one.
        system: What the model is told about its task.
        parameters: Sampling parameters, under the API's names.
    """

    def __init__(
        self, endpoint: Endpoint[ChatRequest], model: str | None, system: str | None, parameters: Mapping[str, Any]
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._parameters = parameters
        self._turns = [] if system is None else [Message("system", (Text(system),))]

    def answer(self, question: str, *, show: bool) -> Completion:
        """Ask, show the answer as it comes if wanted, and keep both as turns.

        An answer that the user interrupts is kept as far as it came.

        Raises:
            LinkspanError: The call failed; the question is then forgotten.
        """
        assembler = Assembler()
        turns = [*self._turns, Message("user", (Text(question),))]
        request = ChatRequest(model=self._model, messages=turns, parameters=self._parameters)
        deltas = self._endpoint.stream(request, assembler=assembler)
        with contextlib.closing(deltas), contextlib.suppress(KeyboardInterrupt):
            for delta in deltas:
                if show:
                    console.piece(delta.reasoning, thought=True)
                    console.piece(delta.text)
        completion = assembler.completion()
        self._turns = [*turns, Message("assistant", (Text(completion.text),))]
        return completion


def ask_once(conversation: Conversation, question: str, *, as_json: bool) -> int:
    """Ask one question and return the exit code."""
    try:
        completion = conversation.answer(question, show=not as_json)
    except LinkspanError as error:
        return _failed(error, as_json=as_json)
    if as_json:
        sys.stdout.write(f"{json.dumps(_facts(completion), ensure_ascii=False)}\n")
    else:
        console.out.print()
    return 0


def talk(conversation: Conversation, title: str) -> int:
    """Read questions until the input ends, and return the exit code."""
    console.out.print(f"{title}   (Ctrl-C stops an answer, Ctrl-D ends the conversation)")
    while True:
        try:
            question = console.out.input("[bold]you>[/] ").strip()
        except (EOFError, KeyboardInterrupt):
            console.out.print()
            return 0
        if not question:
            continue
        try:
            completion = conversation.answer(question, show=True)
        except LinkspanError as error:
            console.out.print()
            console.failure("the call", error)
            continue
        console.out.print()
        if completion.finish_reason == "length":
            console.out.print("[dim](cut off: raise --max-tokens)[/]")


def _facts(completion: Completion) -> dict[str, Any]:
    usage = completion.usage
    return {
        "text": completion.text,
        "reasoning": completion.reasoning or None,
        "finish_reason": completion.finish_reason,
        "model": completion.model,
        "request_id": completion.request_id,
        "usage": None if usage is None else {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
    }


def _failed(error: LinkspanError, *, as_json: bool) -> int:
    if as_json:
        facts = {"error": type(error).__name__, "message": str(error), "request_id": error.request_id}
        sys.stdout.write(f"{json.dumps(facts, ensure_ascii=False)}\n")
    else:
        console.failure("the call", error)
    return 1
