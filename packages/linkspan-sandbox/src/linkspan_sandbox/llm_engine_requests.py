"""Requests as LLM Engine's gateway reads them: its validation refuses with 422, its framework rules with 400.

Like the gateway, a FastAPI application, it answers with pydantic's errors. The classes of messages and parts have the
gateway's names, because these appear in the errors.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import AnyUrl, BaseModel, Field, ValidationError

from linkspan_sandbox.json_bodies import parse_json

__all__ = ["ChatV2Request", "CompletionV1Request", "InvalidBodyError", "RuleError", "check_rules", "parse", "read_json"]

GUIDES = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")

ModelT = TypeVar("ModelT", bound=BaseModel)


class InvalidBodyError(Exception):
    """422: ``detail`` is the list of errors."""

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        super().__init__("invalid")
        self.detail = detail


class RuleError(Exception):
    """400: the endpoint's framework does not support the request."""


class CompletionV1Request(BaseModel):
    """The body of a prompt (docs/apis/llm_engine.md#prompts-v1)."""

    prompt: str
    max_new_tokens: int
    temperature: float = Field(ge=0.0, le=1.0)
    stop_sequences: list[str] | None = None
    return_token_log_probs: bool | None = False
    presence_penalty: float | None = Field(default=None, ge=0.0, le=2.0)
    frequency_penalty: float | None = Field(default=None, ge=0.0, le=2.0)
    top_k: int | None = Field(default=None, ge=-1)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    include_stop_str_in_output: bool | None = None
    guided_json: dict[str, Any] | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    skip_special_tokens: bool | None = True


# --------------------------------------------------------------------------- chat (docs/apis/llm_engine.md#chat-v2)


class ChatCompletionRequestMessageContentPartText(BaseModel):
    type: Literal["text"]
    text: str


class ImageUrl(BaseModel):
    url: AnyUrl
    detail: Literal["auto", "low", "high"] | None = "auto"


class ChatCompletionRequestMessageContentPartImage(BaseModel):
    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(BaseModel):
    data: str
    format: Literal["wav", "mp3"]


class ChatCompletionRequestMessageContentPartAudio(BaseModel):
    type: Literal["input_audio"]
    input_audio: InputAudio


class FileFields(BaseModel):
    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None


class ChatCompletionRequestMessageContentPartFile(BaseModel):
    type: Literal["file"]
    file: FileFields


class ChatCompletionRequestMessageContentPartRefusal(BaseModel):
    type: Literal["refusal"]
    refusal: str


TextParts = list[ChatCompletionRequestMessageContentPartText]
UserPart = Union[
    ChatCompletionRequestMessageContentPartText,
    ChatCompletionRequestMessageContentPartImage,
    ChatCompletionRequestMessageContentPartAudio,
    ChatCompletionRequestMessageContentPartFile,
]
AssistantPart = Union[ChatCompletionRequestMessageContentPartText, ChatCompletionRequestMessageContentPartRefusal]


class ChatCompletionRequestDeveloperMessage(BaseModel):
    content: Union[str, TextParts]
    role: Literal["developer"]


class ChatCompletionRequestSystemMessage(BaseModel):
    content: Union[str, TextParts]
    role: Literal["system"]


class ChatCompletionRequestUserMessage(BaseModel):
    content: Union[str, list[UserPart]]
    role: Literal["user"]


class FunctionCall(BaseModel):
    name: str
    arguments: str


class ChatCompletionMessageToolCall(BaseModel):
    id: str
    type: Literal["function"]
    function: FunctionCall


class ChatCompletionRequestAssistantMessage(BaseModel):
    content: Union[str, list[AssistantPart], None] = None
    role: Literal["assistant"]
    tool_calls: list[ChatCompletionMessageToolCall] | None = None


class ChatCompletionRequestToolMessage(BaseModel):
    role: Literal["tool"]
    content: Union[str, TextParts]
    tool_call_id: str


class ChatCompletionRequestFunctionMessage(BaseModel):
    role: Literal["function"]
    content: str | None
    name: str


ChatMessage = Union[
    ChatCompletionRequestDeveloperMessage,
    ChatCompletionRequestSystemMessage,
    ChatCompletionRequestUserMessage,
    ChatCompletionRequestAssistantMessage,
    ChatCompletionRequestToolMessage,
    ChatCompletionRequestFunctionMessage,
]


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class ChatV2Request(BaseModel):
    """The fields of a chat body that the gateway checks; it forwards all others to the model's server."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=1, ge=0, le=2)
    top_p: float | None = Field(default=1, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    n: int | None = Field(default=1, ge=1, le=128)
    presence_penalty: float | None = Field(default=0, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=0, ge=-2, le=2)
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: Union[str, Annotated[list[str], Field(min_length=1, max_length=4)], None] = None
    logprobs: bool | None = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include_stop_str_in_output: bool | None = None
    guided_json: Union[str, dict[str, Any], None] = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None


# --------------------------------------------------------------------------- reading


def read_json(content: bytes, content_type: str) -> Any:
    """Parse a body.

    Raises:
        InvalidBodyError: The body is not JSON.
    """
    if "json" not in content_type:
        return content.decode("utf-8", "replace")
    try:
        return parse_json(content)
    except ValueError as error:
        position = error.pos if isinstance(error, json.JSONDecodeError) else 0
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        entry = {
            "type": "json_invalid",
            "loc": ["body", position],
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": reason},
        }
        raise InvalidBodyError([entry]) from error


def parse(body: Any, kind: type[ModelT], missing_query: str | None = None) -> ModelT:
    """Validate a body.

    Args:
        body: The parsed body.
        kind: The type to validate against.
        missing_query: Name of a missing query parameter.

    Raises:
        InvalidBodyError: The body is invalid; lists every error, the query's first.
    """
    detail: list[dict[str, Any]] = []
    if missing_query is not None:
        detail.append({"type": "missing", "loc": ["query", missing_query], "msg": "Field required", "input": None})
    try:
        parsed = kind.model_validate(body) if isinstance(body, dict) else None
    except ValidationError as error:
        found = json.loads(error.json(include_url=False))
        detail += [{**entry, "loc": ["body", *entry["loc"]]} for entry in found]
    else:
        if parsed is not None and not detail:
            return parsed
    if not isinstance(body, dict):
        message = "Input should be a valid dictionary or object to extract fields from"
        detail.append({"type": "model_attributes_type", "loc": ["body"], "msg": message, "input": body})
    raise InvalidBodyError(detail)


def check_rules(request: CompletionV1Request, framework: str) -> None:
    """Apply the rules between fields (docs/apis/llm_engine.md#prompts-v1).

    Raises:
        RuleError: A rule is broken.
    """
    if framework == "sglang":
        raise RuleError("Unsupported inference framework LLMInferenceFramework.SGLANG")
    samples_anyhow = framework in ("vllm", "lightllm", "text_generation_inference")
    if samples_anyhow:
        if request.temperature == 0 and (request.top_k not in (-1, None) or request.top_p not in (1.0, None)):
            raise RuleError("top_k and top_p can't be enabled when temperature is 0.")
        if request.top_k == 0:
            raise RuleError("top_k needs to be strictly positive, or set it to be -1 / None to disable top_k.")
    elif request.top_k or request.top_p:
        raise RuleError(f"top_k and top_p are not supported in {framework}.")
    if framework not in ("vllm", "lightllm") and (request.presence_penalty or request.frequency_penalty):
        raise RuleError("presence_penalty and frequency_penalty are only supported in vllm, lightllm.")
    if request.return_token_log_probs and framework == "tensorrt_llm":
        raise RuleError("return_token_log_probs is not supported in tensorrt_llm.")
    if request.include_stop_str_in_output is not None and framework != "vllm":
        raise RuleError("include_stop_str_in_output is only supported in vllm.")
    _check_guides(request, framework)


def _check_guides(request: CompletionV1Request, framework: str) -> None:
    guides = sum(getattr(request, name) is not None for name in GUIDES)
    if guides > 1:
        raise RuleError(f"Only one of {', '.join(GUIDES)} can be enabled.")
    if guides and framework != "vllm":
        raise RuleError("Guided decoding is only supported in vllm.")
