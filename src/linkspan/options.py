"""Options of a model, on the object and per call, and how they become a request.

A call's keywords are checked like the constructor's arguments. ``None`` drops the object's value for the call.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # pydantic reads the annotations at run time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from linkspan.call_headers import as_extra_headers
from linkspan.call_keywords import read_tool_choice
from linkspan.connection import Connected
from linkspan.conversation import ChatRequest, PromptRequest
from linkspan.errors import ConfigurationError, InvalidRequestError, UnsupportedContentError
from linkspan.fields import by_field_name, near_match, sent_if_set
from linkspan.providers.retirement import warn_if_retired
from linkspan.redaction import is_secret_keyword
from linkspan.turns import join_turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import Message, ResponseFormat, Tool
    from linkspan.providers.catalog import ModelInfo
    from linkspan.providers.likely_tokens import LikelyTokens

__all__ = [
    "CallOptions",
    "ChatSettings",
    "ConversationSettings",
    "ModelName",
    "ModelSettings",
    "refuse_chat_keywords",
]


def _named(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank: pass the name of a model")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("must not contain half of a UTF-16 pair")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


#: A model's name.
ModelName = Annotated[str, AfterValidator(_named)]
#: Texts that end an answer; a single string is allowed.
StopTexts = Annotated[list[str], BeforeValidator(_listed)]

#: Arguments of other packages' classes, and what to use here instead.
_MEANT_OTHERWISE = {
    "extra_query": "a query is part of base_url.",
    "headers": "headers of one call go into extra_headers, those of all calls into default_headers, keys into api_key.",
    "image_documents": "pictures are sent by chat, as image blocks of a message (LlamaIndex's ImageBlock).",
}

#: Similarity from which an unknown keyword counts as a typo.
_TYPO = 0.85


@dataclass(slots=True)
class CallOptions:
    """The options of one call: its keywords override the object's fields.

    Attributes:
        model: Name of the model.
        parameters: The API's parameters that are set.
        stop: Texts that end the answer.
        extra_body: Further fields of the body.
        extra_headers: Headers of this call only.
        timeout: Seconds of silence allowed; ``None`` means the object's.
        keywords: Other keywords: tools, tool choice, response format, a framework's own.
        fields: Values of the other fields that a call may override.
    """

    model: str | None
    parameters: dict[str, Any]
    stop: list[str]
    extra_body: dict[str, Any]
    extra_headers: dict[str, str]
    timeout: float | None
    keywords: dict[str, Any]
    fields: dict[str, Any]


class ModelSettings(Connected):
    """Settings of a language model, which a call's keywords can override."""

    argument_aliases: ClassVar[Mapping[str, str]] = {**Connected.argument_aliases, "model_name": "model"}
    #: The fields that are sent as parameters, under their own names.
    parameter_fields: ClassVar[tuple[str, ...]] = ("temperature", "max_tokens")
    #: Other fields that a call may override.
    call_fields: ClassVar[frozenset[str]] = frozenset({"model", "stop", "extra_body", "extra_headers", "timeout"})
    #: Keywords of a call that are neither fields nor parameters.
    call_keywords: ClassVar[frozenset[str]] = frozenset({"response_format", "tool_choice", "tools"})

    model: ModelName | None = Field(default=None, description="Name of the model; `model_name` is another name.")
    temperature: float | None = sent_if_set("Randomness of the answer.")
    max_tokens: int | None = sent_if_set("Most tokens to generate, including reasoning.", gt=0)
    stop: StopTexts | None = Field(
        default=None,
        description="Texts that end the answer and are not part of it; a single string is allowed.",
    )

    # ------------------------------------------------------------------ the options of one call

    def _call_options(self, kwargs: Mapping[str, Any], stop: Sequence[str] | str | None = None) -> CallOptions:
        """Return the options of one call. ``stop``, the framework's own argument, overrides the keyword.

        Raises:
            ConfigurationError: A keyword belongs to the constructor or is a typo, or a value is wrong.
        """
        call = by_field_name(type(self), kwargs)
        if stop is not None:
            call["stop"] = stop
        parameters = self._object_parameters()
        keywords: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        for name, value in call.items():
            if name in self.call_keywords:
                keywords[name] = value
            elif name == "extra_headers":
                fields[name] = as_extra_headers(value, self._key)
            elif name in self.call_fields:
                if value is not None:
                    fields[name] = self._checked_value(name, value)
                elif name == "stop":
                    fields[name] = []
            else:
                if name not in self.parameter_fields:
                    self._check_keyword(name, value)
                known = value is not None and name in type(self).model_fields
                parameters[name] = self._checked_value(name, value) if known else value
        return CallOptions(
            model=self._model_of(fields.pop("model", None)),
            parameters={name: value for name, value in parameters.items() if value is not None},
            stop=list(fields.pop("stop") if "stop" in fields else self._object_stop()),
            extra_body={**self.extra_body, **fields.pop("extra_body", {})},
            extra_headers=fields.pop("extra_headers", {}),
            timeout=fields.pop("timeout", None),
            keywords=keywords,
            fields=fields,
        )

    def _object_parameters(self) -> dict[str, Any]:
        """Return all of the object's parameters, set or not."""
        return {name: getattr(self, name) for name in self.parameter_fields}

    def _object_stop(self) -> Sequence[str]:
        """Return the object's stop texts."""
        return self.stop or ()

    def _model_of(self, named: str | None) -> str | None:
        """Return the model of a call: its own, else the object's."""
        if named is None:
            return self.model
        warn_if_retired(self._provider, named)
        return named

    def _unnamed_model(self) -> str | None:
        """Return a label for a model without a name, for counters and traces; ``None`` if a name is required."""
        return None

    def _served_window(self) -> int | None:
        """Return the context window, in tokens, from the server's earlier answers; ``None`` if unknown. No network."""
        return None

    def _window_known(self) -> None:
        """Hook, called when the server's window is known: a framework's class may update what it shows."""

    def _label(self, model: str | None = None) -> str | None:
        """Return the name or label of a call's model."""
        return model or self.model or self._unnamed_model()

    @classmethod
    def _check_keyword(cls, name: str, value: Any) -> None:
        """Refuse a keyword of a call that belongs to the constructor or is a typo.

        Raises:
            ConfigurationError: The keyword is one of these.
        """
        provider = cls._provider.name
        if name in cls.model_fields:
            raise ConfigurationError(f"{name} is an argument of {cls.__name__}(...), not of a call.", provider=provider)
        if name in _MEANT_OTHERWISE:
            raise ConfigurationError(
                f"{name} cannot be given for one call: {_MEANT_OTHERWISE[name]}", provider=provider
            )
        if is_secret_keyword(name, value):
            raise ConfigurationError(
                f"{name} cannot be given for one call, as it would be sent in the request's body: a key goes into "
                f"{cls.__name__}(api_key=...), headers go into {cls.__name__}(default_headers={{...}}). To send it "
                "anyway, use extra_body.",
                provider=provider,
            )
        known = {*cls.parameter_fields, *cls.argument_aliases, *cls.call_fields, *cls.call_keywords}
        hint = near_match(name, known, cutoff=_TYPO)
        if hint:
            raise ConfigurationError(
                f"Unknown keyword argument {name!r}.{hint} To send it as it is, use extra_body.", provider=provider
            )

    def _prompt_request_of(self, prompt: str, options: CallOptions) -> PromptRequest:
        """Return the request of a text."""
        return PromptRequest(
            model=options.model,
            prompt=prompt,
            parameters=options.parameters,
            stop=options.stop,
            extra_body=options.extra_body,
            extra_headers=options.extra_headers,
        )


class ConversationSettings(ModelSettings):
    """Settings of a model that accepts conversations."""

    call_fields: ClassVar[frozenset[str]] = ModelSettings.call_fields | {"data_role"}

    data_role: Literal["error", "fenced"] = Field(
        default="error",
        description="How to handle `data` messages if the API has no such role: an error, or a marked user turn.",
    )

    def _check_messages(self, messages: Sequence[Any]) -> None:
        """Refuse a conversation without messages.

        Raises:
            InvalidRequestError: There is none.
        """
        if not messages:
            raise InvalidRequestError("chat needs at least one message", provider=self._provider.name)


class ChatSettings(ConversationSettings):
    """Settings of a chat model."""

    parameter_fields: ClassVar[tuple[str, ...]] = (*ModelSettings.parameter_fields, "top_p", "seed")
    call_fields: ClassVar[frozenset[str]] = ConversationSettings.call_fields | {
        "join_turns",
        "send_reasoning",
        "stream_usage",
        "tool_results",
    }

    top_p: float | None = sent_if_set("Nucleus sampling: consider only the most likely tokens up to this sum.")
    seed: int | None = sent_if_set("Seed of the sampling, for repeatable answers.")
    stream_usage: bool = Field(default=True, description="Request token counts in streams.")
    tool_results: Literal["tool", "data"] = Field(
        default="tool",
        description="`data`: what tools return is untrusted text too. On an API without the role `data`, `data_role` "
        "decides: an error, or marked text in the tool's turn.",
    )
    send_reasoning: bool = Field(default=False, description="Send the reasoning of earlier answers back.")
    join_turns: bool = Field(
        default=False,
        description="For models whose chat template wants user and assistant to take turns after one system message: "
        "join the turns of one speaker that follow each other, and all system messages.",
    )

    def _likely_token_options(self) -> LikelyTokens:
        """Return the parameters that request the most likely tokens at each position of the answer.

        Raises:
            UnsupportedContentError: The API does not give them.
        """
        raise UnsupportedContentError(
            f"{self._provider.title}: this class gives no log probabilities of tokens, and a decision needs them.",
            provider=self._provider.name,
        )

    @property
    def _writes_prompts(self) -> bool:
        """Whether a chat template turns conversations into prompts."""
        return False

    def _calls_tools(self, info: ModelInfo | None) -> bool:
        """Return whether a model calls tools over the API of this object, as far as is known: ``None`` is unknown."""
        return not self._writes_prompts and (info is None or info.calls_tools_over("chat/completions"))

    def _chat_request_of(
        self,
        messages: Sequence[Message],
        options: CallOptions,
        *,
        tools: Sequence[Tool],
        response_format: ResponseFormat | None,
    ) -> ChatRequest:
        """Return the request of a conversation.

        Raises:
            ConfigurationError: The choice of tools does not fit the tools.
            InvalidRequestError: There is no message.
        """
        self._check_messages(messages)
        fields = options.fields
        return ChatRequest(
            model=options.model,
            messages=join_turns(messages) if fields.get("join_turns", self.join_turns) else messages,
            parameters=options.parameters,
            stop=options.stop,
            tools=tools,
            tool_choice=read_tool_choice(options.keywords.get("tool_choice"), [tool.name for tool in tools]),
            response_format=response_format,
            extra_body=options.extra_body,
            extra_headers=options.extra_headers,
            stream_usage=fields.get("stream_usage", self.stream_usage),
            send_reasoning=fields.get("send_reasoning", self.send_reasoning),
            data_role=fields.get("data_role", self.data_role),
            tool_results=fields.get("tool_results", self.tool_results),
        )


def refuse_chat_keywords(owner: ModelSettings, keywords: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse keywords that only chat models support.

    Raises:
        UnsupportedContentError: A call of a completion model has one of these keywords.
    """
    for name in names:
        if keywords.get(name):
            raise UnsupportedContentError(
                f"{type(owner).__name__} takes a prompt and has no {name}: use the chat class of this API.",
                provider=owner._provider.name,  # noqa: SLF001  # a class's constant
            )
