"""Every class of both frameworks as one kind of thing: made, asked, and what it sent looked at."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from linkspan import langchain, llama_index
from linkspan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "a-key-of-the-contract-0123456789"
URL = "http://127.0.0.1:9/v1"
OTHER_URL = "http://127.0.0.2:9/v1"


@contextmanager
def refused_as(words: str, name: str, value: Any) -> Iterator[None]:
    """Check that a value is refused, in these words; a failure says which value it was."""
    refused = ""
    try:
        yield
    except ConfigurationError as error:
        refused = str(error) or "(no words)"
    assert refused, f"{name}={value!r} is not refused"
    assert re.search(words, refused), f"{name}={value!r} is refused as: {refused}"


def _chat(answer: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer}
    return {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }


class Server:
    """Answers every route of every API, without a socket, and keeps what was asked."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json=_answer(request))

    @property
    def body(self) -> dict[str, Any]:
        """The body of the last request; of a form, its fields."""
        content = self.requests[-1].content
        if content.startswith(b"{"):
            return json.loads(content)
        fields = re.findall(rb'name="(\w+)"\r\n\r\n(.*?)\r\n--', content)
        return {name.decode(): json.loads(value) if value.isdigit() else value.decode() for name, value in fields}

    @property
    def sent(self) -> dict[str, Any]:
        """The parameters of the last request, wherever the API has them."""
        return {**self.body, **self.body.get("parameters", {})}


def _answer(request: httpx.Request) -> Any:
    path = request.url.path
    answers = {
        "/model-endpoints": {"model_endpoints": [{"name": "m"}]},
        "/models": {"object": "list", "data": [{"id": "m", "object": "model"}]},
        "/generate": [{"generated_text": "there", "details": _DETAILS}],
        "/v1/completions": {**_chat("there"), "object": "text_completion", "choices": [_COMPLETION]},
        "/completions-sync": {"request_id": "r", "output": {"text": "there", "num_completion_tokens": 1}},
        "/responses": _RESPONSE,
        "/embeddings": {"data": [{"index": 0, "embedding": [1.0]}], "model": "m"},
        "/audio/transcriptions": {"text": "there"},
        "/ocr": {"pages": [{"index": 0, "markdown": "there"}], "model": "m"},
        "/cygnal/monitor": {"violation": 0.5},
        "/rerank": {"results": [{"index": 0, "relevance_score": 0.5}], "model": "m"},
    }
    return next((answer for end, answer in answers.items() if path.endswith(end)), _chat("there"))


_RESPONSE = {
    "id": "r",
    "object": "response",
    "model": "m",
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "there"}]}],
}
_COMPLETION = {"index": 0, "text": "there", "logprobs": None, "finish_reason": "stop"}
_DETAILS = {"finish_reason": "eos_token", "generated_tokens": 1, "seed": None, "prefill": [], "tokens": []}


@dataclass
class Subject:
    """One class, with what its objects need."""

    framework: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    #: What it does; ``template`` is chat over a prompt API.
    kind: str = "chat"

    @property
    def cls(self) -> Any:
        return getattr(langchain if self.framework == "langchain" else llama_index, self.name)

    @property
    def id(self) -> str:
        route = self.settings.get("api", "")
        return f"{self.framework}-{self.name}{'-' if route else ''}{route}"

    def make(self, server: Server | None = None, **settings: Any) -> Any:
        """Make an object; with a server, one that talks to it by sync and async calls."""
        given = {"api_key": KEY, "base_url": URL, "max_retries": 0, **self.settings}
        if server is not None:
            transport = httpx.MockTransport(server)
            given["http_client"] = httpx.Client(transport=transport)
            given["http_async_client"] = httpx.AsyncClient(transport=transport)
        return self.cls(**{**given, **settings})

    def ask(self, model: Any, /, **kwargs: Any) -> str:
        """Ask something and return the answer's text."""
        if self.kind == "embedding":
            vector = model.embed_query if self.framework == "langchain" else model.get_query_embedding
            return str(vector("hi"))
        if self.kind == "guard":
            return str(model.check("hi", **kwargs).violation)
        if self.kind == "rerank":
            return _rerank(self.framework, model)
        if self.kind in {"transcription", "ocr"}:
            return _read(self.framework, model, b"%PDF-1.7" if self.kind == "ocr" else b"fLaC")
        if self.framework == "llama_index":
            return str(model.complete("hi", **kwargs).text)
        answer = model.invoke("hi", **kwargs)
        return answer if isinstance(answer, str) else str(answer.content)

    async def aask(self, model: Any, /, **kwargs: Any) -> str:
        """Ask something and return the answer's text."""
        if self.framework == "llama_index":
            return str((await model.acomplete("hi", **kwargs)).text)
        answer = await model.ainvoke("hi", **kwargs)
        return answer if isinstance(answer, str) else str(answer.content)


def _read(framework: str, model: Any, content: bytes) -> str:
    if framework == "langchain":
        from langchain_core.document_loaders import Blob

        return str(model.parse(Blob.from_data(content))[0].page_content)
    return str(model.load_data(content)[0].text)


def _rerank(framework: str, model: Any) -> str:
    if framework == "langchain":
        return str(model.rerank(["a text"], "hi"))
    from llama_index.core.schema import NodeWithScore, TextNode

    return str(model.postprocess_nodes([NodeWithScore(node=TextNode(text="a text"))], query_str="hi"))


_M = {"model": "m"}
SUBJECTS = [
    Subject("langchain", "ChatScaleway", _M),
    Subject("langchain", "ChatScaleway", {**_M, "api": "responses"}),
    Subject("langchain", "ChatGraySwan"),
    Subject("langchain", "ChatLLMEngine", {**_M, "api": "v2"}),
    Subject("langchain", "ChatLLMEngine", {**_M, "api": "v1", "chat_template": "chatml"}, "template"),
    Subject("langchain", "ChatDataCrunch", {**_M, "api": "messages"}),
    Subject("langchain", "ChatDataCrunch", {**_M, "api": "openai"}),
    Subject("langchain", "ChatDataCrunch", {**_M, "api": "generate", "chat_template": "chatml"}, "template"),
    Subject("langchain", "LLMEngine", _M, "prompt"),
    Subject("langchain", "DataCrunch", _M, "prompt"),
    Subject("langchain", "DataCrunch", {**_M, "api": "openai"}, "prompt"),
    Subject("llama_index", "Scaleway", _M),
    Subject("llama_index", "Scaleway", {**_M, "api": "responses"}),
    Subject("llama_index", "GraySwan"),
    Subject("llama_index", "ChatLLMEngine", {**_M, "api": "v2"}),
    Subject("llama_index", "ChatLLMEngine", {**_M, "api": "v1", "chat_template": "chatml"}, "template"),
    Subject("llama_index", "ChatDataCrunch", {**_M, "api": "messages"}),
    Subject("llama_index", "ChatDataCrunch", {**_M, "api": "openai"}),
    Subject("llama_index", "ChatDataCrunch", {**_M, "api": "generate", "chat_template": "chatml"}, "template"),
    Subject("llama_index", "LLMEngine", _M, "prompt"),
    Subject("llama_index", "DataCrunch", _M, "prompt"),
    Subject("llama_index", "DataCrunch", {**_M, "api": "openai"}, "prompt"),
]
#: They judge, and have no model to name.
GUARDS = [Subject("langchain", "Cygnal", kind="guard"), Subject("llama_index", "Cygnal", kind="guard")]
VECTORS = [
    Subject("langchain", "ScalewayEmbeddings", _M, "embedding"),
    Subject("langchain", "ScalewayRerank", _M, "rerank"),
    Subject("llama_index", "ScalewayEmbedding", _M, "embedding"),
    Subject("llama_index", "ScalewayRerank", _M, "rerank"),
]
READERS = [
    Subject("langchain", "ScalewayTranscriptionParser", _M, "transcription"),
    Subject("langchain", "ScalewayOCRParser", _M, "ocr"),
    Subject("llama_index", "ScalewayTranscriptionReader", _M, "transcription"),
    Subject("llama_index", "ScalewayOCRReader", _M, "ocr"),
]
CHATS = [subject for subject in SUBJECTS if subject.kind == "chat"]
