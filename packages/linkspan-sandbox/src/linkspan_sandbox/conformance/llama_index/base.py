"""Shared by all parts of the suite: the hooks to override, the server, and helpers to call a class."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole

from linkspan_sandbox import Call, Reply, Sandbox, run
from linkspan_sandbox.conformance.needs import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = [
    "CHAT_STREAMS",
    "CHAT_WAYS",
    "KEY",
    "STREAMS",
    "WAYS",
    "LLMSuite",
    "Script",
    "Suite",
    "ask",
    "chat_chunk",
    "each",
    "last",
    "plain",
    "text_of",
]

#: The key that the suite passes to the class; it checks that the key does not leak.
KEY = "conformance-key-0123456789abcdef"

#: LlamaIndex's eight endpoints.
WAYS = (
    "chat",
    "achat",
    "stream_chat",
    "astream_chat",
    "complete",
    "acomplete",
    "stream_complete",
    "astream_complete",
)
CHAT_WAYS = WAYS[:4]
STREAMS = ("stream_chat", "astream_chat", "stream_complete", "astream_complete")
CHAT_STREAMS = STREAMS[:2]


def each(ways: Sequence[str], *, streams_need: str | None = None) -> pytest.MarkDecorator:
    """Run a test once for each of these endpoints.

    Args:
        ways: The endpoints.
        streams_need: Feature required for the streaming endpoints; see :func:`needs`.
    """
    if streams_need is None:
        return pytest.mark.parametrize("way", ways)
    marks = needs(streams_need)
    return pytest.mark.parametrize("way", [pytest.param(way, marks=marks) if "stream" in way else way for way in ways])


class Script:
    """Sets the server's answers and records its calls.

    Attributes:
        sandbox: The server.
        calls: The calls that this script has answered, decoded from any API.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.calls: list[Call] = []

    def reply(self, reply: Reply | str | Callable[[Call], Reply | str], **when: Any) -> None:
        """Answer with this; ``when`` are the arguments of :class:`linkspan_sandbox.Rule`."""

        def answer(call: Call) -> Reply | str:
            self.calls.append(call)
            return reply(call) if callable(reply) else reply

        self.sandbox.add_rule(answer, **when)

    @property
    def requests(self) -> int:
        """The number of requests received, answered or not."""
        return len(self.sandbox.requests)


class Suite:
    """One server per test class, cleared for each test.

    Attributes:
        sandbox_settings: Arguments for :func:`linkspan_sandbox.run`.
        key_environment: The environment variable with the class's key; ``None`` if there is none.
    """

    sandbox_settings: ClassVar[Mapping[str, Any]] = {}
    key_environment: ClassVar[str | None] = None

    _running: ClassVar[Sandbox]

    @classmethod
    def setup_class(cls) -> None:
        """Start the server."""
        cls._running = run(**cls.sandbox_settings).start()

    @classmethod
    def teardown_class(cls) -> None:
        """Stop the server."""
        cls._running.stop()

    def base_url(self, sandbox: Sandbox) -> str:
        """Return the URL for the class, such as ``sandbox.scaleway_url`` (the default)."""
        return sandbox.scaleway_url

    @pytest.fixture
    def script(self, monkeypatch: pytest.MonkeyPatch) -> Script:
        """The server, without rules."""
        if self.key_environment:
            monkeypatch.setenv(self.key_environment, KEY)
        self._running.reset()
        return Script(self._running)


class LLMSuite(Suite):
    """The suite's description of an LLM class. Override ``make_llm``, ``base_url`` and what else differs.

    Attributes:
        import_path: The public module that the class is imported from, such as ``"llama_index.llms.scaleway"``.
        is_chat_model: The expected value in the class's metadata.
        supports_tools: Whether it is a ``FunctionCallingLLM`` whose API supports tools, in Chat Completions form.
        streams_chat_chunks: Whether its streams are Chat Completions chunks.
        supports_images: Whether the API accepts images, in Chat Completions form.
        supports_tool_images: Whether the API accepts images in tool results.
        supports_reasoning: Whether the API has a separate field for reasoning.
        reasoning_fields: The names of that field.
        think_tag_settings: Settings that make the class split ``<think>`` text off; ``None`` if it cannot.
        supports_json_schema: Whether the class makes the server enforce a schema.
        logprob_options: Call keywords that request log probabilities; ``None`` if the API has none.
        streams_usage: Whether the API counts tokens in streams.
        reports_finish_reason: Whether the API says why an answer ended.
        has_end_event: Whether the API's streams end with an empty event ``[DONE]``.
        tells_of_early_end: Whether a stream without the API's last event is recognisable as cut.
        data_role_settings: Settings that send linkspan's data messages; ``None`` for classes without them.
        caches_prompts: Whether the API caches prompts automatically, so that the class omits cache points.
    """

    import_path: ClassVar[str | None] = None
    is_chat_model: ClassVar[bool] = True
    supports_tools: ClassVar[bool] = True
    streams_chat_chunks: ClassVar[bool] = True
    supports_images: ClassVar[bool] = True
    supports_tool_images: ClassVar[bool] = True
    supports_reasoning: ClassVar[bool] = True
    reasoning_fields: ClassVar[Sequence[str]] = ("reasoning", "reasoning_content")
    think_tag_settings: ClassVar[Mapping[str, Any] | None] = None
    supports_json_schema: ClassVar[bool] = True
    logprob_options: ClassVar[Mapping[str, Any] | None] = {"logprobs": True}
    streams_usage: ClassVar[bool] = True
    reports_finish_reason: ClassVar[bool] = True
    has_end_event: ClassVar[bool] = True
    tells_of_early_end: ClassVar[bool] = True
    data_role_settings: ClassVar[Mapping[str, Any] | None] = None
    caches_prompts: ClassVar[bool] = False

    def make_llm(self, base_url: str, **settings: Any) -> Any:
        """Return an object of the class under test.

        Args:
            base_url: The URL to call.
            settings: Constructor arguments under LlamaIndex's usual names (``api_key``, ``max_retries``,
                ``max_tokens``, ``temperature``, ``model``, ``callback_manager``, ``system_prompt``, …). They take
                precedence over yours.
        """
        raise NotImplementedError(f"{type(self).__name__} must override make_llm")

    @pytest.fixture
    def make(self, script: Script) -> Iterator[Callable[..., Any]]:
        """Build objects of the class that call the server; close them at the end, if possible."""
        made: list[Any] = []

        def make_one(*, through: str | None = None, **settings: Any) -> Any:
            address = self.base_url(script.sandbox)
            if through is not None:
                address = address.replace(script.sandbox.url, through)
            made.append(self.make_llm(address, **{"api_key": KEY, "max_retries": 0, **settings}))
            return made[-1]

        yield make_one
        for llm in made:
            if hasattr(llm, "close"):
                llm.close()

    def stream_of(self, deltas: Sequence[Mapping[str, Any]], finish_reason: str) -> list[Any]:
        """Return the events of a Chat Completions stream with these deltas."""
        events: list[Any] = [*map(chat_chunk, deltas), chat_chunk({}, finish_reason)]
        return [*events, "[DONE]"] if self.has_end_event else events


# --------------------------------------------------------------------------- calling


def ask(llm: Any, way: str, question: Any = "Hello", **kwargs: Any) -> list[Any]:
    """Call one of the eight endpoints, an async one in its own event loop.

    Returns:
        The chunks of a stream, or a list of the one answer.
    """
    subject = question
    if isinstance(question, str) and way.endswith("chat"):
        subject = [ChatMessage(role=MessageRole.USER, content=question)]
    if way.startswith("a"):
        return asyncio.run(_collect(llm, way, subject, kwargs))
    answer = getattr(llm, way)(subject, **kwargs)
    return list(answer) if "stream" in way else [answer]


async def _collect(llm: Any, way: str, subject: Any, kwargs: Mapping[str, Any]) -> list[Any]:
    try:
        answer = await getattr(llm, way)(subject, **kwargs)
        return [chunk async for chunk in answer] if "stream" in way else [answer]
    finally:
        if hasattr(llm, "aclose"):
            await llm.aclose()


def last(llm: Any, way: str, question: Any = "Hello", **kwargs: Any) -> Any:
    """Call an endpoint and return the answer, or the last chunk."""
    return ask(llm, way, question, **kwargs)[-1]


def text_of(response: Any) -> str:
    """Return the text of a chat's or a completion's response."""
    if isinstance(response, ChatResponse):
        return response.message.content or ""
    return str(response.text)


def plain(raw: Any) -> dict[str, Any]:
    """Return ``raw`` as core's token counter and workflow events see it: JSON, without SDK objects."""
    if hasattr(raw, "model_dump"):
        raw = raw.model_dump(mode="json")
    result: dict[str, Any] = json.loads(json.dumps(raw))
    return result


def chat_chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    """Return an event of a Chat Completions stream."""
    choice = {"index": 0, "delta": dict(delta), "finish_reason": finish_reason}
    return {
        "id": "chunk",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "conformance",
        "system_fingerprint": "1",
        "choices": [choice],
    }
