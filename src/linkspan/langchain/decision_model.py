"""``ChatDecisionModel``: typed questions answered by a chat model's log probabilities (langchain-core 1.8 or newer)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.decisions import (
    BaseDecisionModel,
    Choice,
    ChoiceAnswer,
    ClassifierResponse,
    Noul,
    NoulAnswer,
    Question,
    Score,
    ScoreAnswer,
    State,
)
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.messages.ai import add_usage
from pydantic import ConfigDict, Field

from linkspan.concurrency import acall_each, call_each
from linkspan.decisions import (
    ANSWER_TOKENS,
    LabelledQuestion,
    decision_messages,
    expected_level,
    lettered_question,
    message_record,
    read_probabilities,
    yes_no_question,
)
from linkspan.errors import ConfigurationError, InvalidRequestError, UnsupportedContentError
from linkspan.langchain.chat_model import LinkspanChatModel  # noqa: TC001  # pydantic reads the annotations at run time
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.messages import to_conversation
from linkspan.langchain.usage import to_usage_metadata

if TYPE_CHECKING:
    from langchain_core.messages.ai import UsageMetadata

    from linkspan.conversation import ChatRequest, Completion, Part
    from linkspan.providers.likely_tokens import LikelyTokens

__all__ = ["ChatDecisionModel", "state_text"]

_MEDIA = frozenset({"image", "image_url", "audio", "input_audio", "video", "file"})


class ChatDecisionModel(BaseDecisionModel):  # type: ignore[misc]  # core has it from 1.8 on
    """Answers typed questions with a linkspan chat model and its probabilities of the options.

    Use it as ``classifier`` of langchain's ``AutoModeMiddleware`` and ``ModelRouterMiddleware``. Each question is a
    separate call of a few tokens: the model answers with the label of an option, and its first token's log
    probabilities are read.

    Instantiate::

        from linkspan.langchain import ChatDecisionModel, ChatScaleway

        decisions = ChatDecisionModel(chat=ChatScaleway(model="mistral-small-3.2-24b-instruct-2506"))

    Ask::

        from langchain_core.decisions import Noul

        asked = {"urgent": Noul(instructions="Does this need an answer today?")}
        decisions.invoke({"state": "Production is down.", "questions": asked}).nouls["urgent"].noul

    Questions: ``Noul`` (yes or no), ``Choice`` and ``Score``. ``confidence`` is the most likely option's probability.
    A ``Box`` is refused, because text cannot answer it. An option that is not among the most likely tokens has the
    probability 0.

    State: text, messages, or any JSON of these. It is sent as untrusted data: in the role ``data``, or fenced.
    Images and other media are sent with the question; an API that cannot carry them refuses them.

    Models: chat models whose API returns the log probabilities of the most likely tokens. ``ChatScaleway`` and
    ``ChatLLMEngine`` (v2) return 20, ``ChatDataCrunch`` 20 with ``api="openai"``, else 5; a question may have as many
    options. If a server returns only the chosen token, the other options share the rest evenly. Turn reasoning off for
    models that reason first.

    Errors: a failed call raises the chat model's errors. ``InvalidResponseError``: the answer is not a label, or has no
    log probabilities. ``UnsupportedContentError``, at construction: the chat model's API has no log probabilities.
    """

    model_config = ConfigDict(extra="forbid")

    chat: LinkspanChatModel = Field(description="The chat model to call, with its key, URL and settings.")
    model: str = Field(default="", description="Name of the model, for traces. Default: the chat model's.")
    least_mass: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Least probability that the labels must have together. Below it, the answer counts as something "
        "else and raises `InvalidResponseError`.",
    )
    max_concurrency: int = Field(default=4, gt=0, description="Most questions of one call that run at once.")

    def model_post_init(self, context: Any, /) -> None:
        """Use the chat model's name; refuse one whose API has no log probabilities."""
        super().model_post_init(context)
        if not self.model:
            self.model = self.chat.model_name or self.chat._provider.name  # noqa: SLF001  # a class's constant
        with converted_errors():
            self._likely_tokens()

    @property
    def _provider(self) -> str:
        return self.chat._provider.name  # noqa: SLF001  # a class's constant

    def _classify(self, state: State, questions: dict[str, Question]) -> ClassifierResponse:
        with converted_errors():
            asked = self._requests(state, questions)
            endpoint = self.chat._endpoint()  # noqa: SLF001  # asked as the chat model asks it
            answers = call_each([request for _, request in asked], endpoint.complete, self.max_concurrency)
            return self._response(questions, [labelled for labelled, _ in asked], answers)

    async def _aclassify(self, state: State, questions: dict[str, Question]) -> ClassifierResponse:
        with converted_errors():
            asked = self._requests(state, questions)
            endpoint = self.chat._endpoint()  # noqa: SLF001  # asked as the chat model asks it
            gate = asyncio.Semaphore(self.max_concurrency)
            answers = await acall_each([request for _, request in asked], endpoint.acomplete, gate)
            return self._response(questions, [labelled for labelled, _ in asked], answers)

    # ------------------------------------------------------------------ requests

    def _likely_tokens(self) -> LikelyTokens:
        return self.chat._likely_token_options()  # noqa: SLF001  # what its API can be asked for

    def _requests(self, state: State, questions: Mapping[str, Question]) -> list[tuple[LabelledQuestion, ChatRequest]]:
        """Return each question with its labels and its request.

        Raises:
            ConfigurationError: There is no question, or the state contains something other than JSON and messages.
            UnsupportedContentError: A label cannot answer a question's type or options.
        """
        if not questions:
            raise ConfigurationError("questions is empty: pass a mapping of names to questions.")
        media: list[Part] = []
        text = state_text(state, media, self._provider)
        likely = self._likely_tokens()
        options = self.chat._call_options(  # noqa: SLF001  # a call of its own, beside the chat model's four
            {**likely.parameters, "top_p": None, "max_tokens": ANSWER_TOKENS, "data_role": "fenced"}, stop=()
        )
        asked = []
        for name, question in questions.items():
            shown = list(media)
            labelled = _labelled(name, question, shown, self._provider)
            if len(labelled.options) > likely.most:
                raise UnsupportedContentError(
                    f"The question {name!r} has {len(labelled.options)} options; this API gives the probabilities of "
                    f"{likely.most} tokens. Ask in two steps.",
                    provider=self._provider,
                )
            request = self.chat._chat_request_of(  # noqa: SLF001  # as above
                decision_messages(labelled, text, shown), options, tools=(), response_format=None
            )
            asked.append((labelled, request))
        return asked

    # ------------------------------------------------------------------ answers

    def _response(
        self, questions: Mapping[str, Question], asked: Sequence[LabelledQuestion], answers: Sequence[Completion]
    ) -> ClassifierResponse:
        usage: UsageMetadata | None = None
        read = {}
        for name, labelled, completion in zip(questions, asked, answers, strict=True):
            probabilities = read_probabilities(
                completion, labelled, provider=self._provider, least_mass=self.least_mass
            )
            read[name] = _answer(questions[name], probabilities)
            counted = to_usage_metadata(completion.usage)
            usage = add_usage(usage, counted) if counted is not None else usage
        last = answers[-1]
        return ClassifierResponse(model=last.model or self.model, answers=read, usage=usage, request_id=last.request_id)


def _labelled(name: str, question: Question, media: list[Part], provider: str) -> LabelledQuestion:
    """Return a question with its labels; its media are added to ``media``."""

    def words(content: Any) -> str:
        return "" if content is None else state_text(content, media, provider)

    if isinstance(question, Noul):
        criteria = question.criteria
        yes, no = (words(criteria.true), words(criteria.false)) if criteria is not None else ("", "")
        return yes_no_question(words(question.instructions), yes, no)
    if isinstance(question, Choice):
        meanings = {label: words(meaning) for label, meaning in question.criteria.items()}
        options = [f"{label}: {meaning}" if meaning else label for label, meaning in meanings.items()]
        return lettered_question(words(question.instructions), options)
    if isinstance(question, Score):
        levels = [f"level {level}: {words(meaning)}" for level, meaning in enumerate(question.criteria)]
        return lettered_question(words(question.instructions), levels)
    raise UnsupportedContentError(
        f"The question {name!r} is a {type(question).__name__}, which a text cannot answer. "
        "Ask a Noul, a Choice or a Score.",
        provider=provider,
    )


def _answer(question: Question, probabilities: Sequence[float]) -> Any:
    likeliest = max(probabilities)
    if isinstance(question, Noul):
        return NoulAnswer(type="noul", noul=probabilities[0])
    if isinstance(question, Choice):
        by_label = dict(zip(question.criteria, probabilities, strict=True))
        chosen = max(by_label, key=by_label.__getitem__)
        return ChoiceAnswer(type="choice", choice=chosen, probabilities=by_label, confidence=likeliest)
    return ScoreAnswer(
        type="score",
        score=expected_level(probabilities),
        legend=dict(enumerate(question.criteria)),
        probabilities=dict(enumerate(probabilities)),
        confidence=likeliest,
    )


# ---------------------------------------------------------------------- the state as JSON


def state_text(state: Any, media: list[Part], provider: str) -> str:
    """Return a state, or a part of a question, as text: JSON unless it is text. Its media are added to ``media``.

    Raises:
        ConfigurationError: It contains something that is neither JSON nor a message.
    """
    plain = _plain(state, media, provider)
    return plain if isinstance(plain, str) else _json(plain)


def _plain(value: Any, media: list[Part], provider: str) -> Any:
    """Return a value with its messages as objects, and its media moved out and replaced by names."""
    if isinstance(value, BaseMessage):
        return message_record(to_conversation([value], provider)[0], media)
    if isinstance(value, Mapping):
        if value.get("type") in _MEDIA:
            try:
                shown = message_record(to_conversation([HumanMessage([dict(value)])], provider)[0], media)
            except InvalidRequestError:
                # It only looks like one: a tool's arguments may have a "type", too.
                pass
            else:
                return shown["content"]
        return {str(name): _plain(inner, media, provider) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(inner, media, provider) for inner in value]
    return value


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The state holds something that is neither JSON nor a message: {error}") from error
