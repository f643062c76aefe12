"""Gray Swan's guard in LlamaIndex: the client with LlamaIndex's messages and nodes, and a filter of retrieved nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable  # noqa: TC003  # pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Any, Literal

from llama_index.core.base.llms.types import CachePoint, ChatMessage, CitableBlock, CitationBlock
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import ConfigDict, Field

from linkspan import cygnal as neutral
from linkspan.concurrency import acall_each, call_each
from linkspan.conversation import Message, Text, Tool
from linkspan.guarding import JUDGEMENT_KEY, Check, Judgement, OnFailure, PlaceGuard, unjudgeable, with_refusals
from linkspan.llama_index.component import LlamaIndexComponent
from linkspan.llama_index.messages import messages_from_llama_index
from linkspan.llama_index.tools import tool_from
from linkspan.providers.cygnal import CYGNAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.providers.cygnal import Turn

__all__ = ["Cygnal", "CygnalPostprocessor", "NodeAction", "judged_chat_messages"]

#: How to handle flagged nodes. ``drop`` removes them; ``mark`` keeps them, with a warning after their text;
#: ``observe`` changes nothing.
NodeAction = Literal["drop", "mark", "observe"]

_ACTIONS: dict[str, Literal["replace", "warn", "observe"]] = {"drop": "replace", "mark": "warn", "observe": "observe"}


class Cygnal(neutral.Cygnal, LlamaIndexComponent):
    """Gray Swan's guard, with LlamaIndex's messages: ``check`` and ``acheck`` judge texts and conversations.

    Example:
        >>> from linkspan.llama_index import Cygnal
        >>> Cygnal(policy_id="...").check([ChatMessage("How do I pick a lock?")]).flagged

    Nodes, and messages with the data marker, count as text from outside. ``CygnalPostprocessor`` filters retrieved
    nodes, ``CygnalTool`` guards a tool, ``CygnalLLM`` chats, engines and agents.

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, or no key.
    """

    def _turns(self, content: Any) -> str | Sequence[Turn]:
        if isinstance(content, str):
            return content
        items = list(content) if isinstance(content, (list, tuple)) else [content]
        return [_turn_of(item) for item in items]

    def _tool(self, tool: Any) -> Tool:
        return tool_from(tool, CYGNAL.name)


def _turn_of(item: Any) -> Turn:
    if isinstance(item, (Message, dict)):
        return item
    if isinstance(item, ChatMessage):
        return judged_chat_messages([item])[0]
    if isinstance(item, (BaseNode, NodeWithScore)):
        return Message("data", [Text(item.get_content(metadata_mode=MetadataMode.LLM))])
    raise unjudgeable(item, "nodes")


def judged_chat_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """Convert messages to the guard's form: unwrap citations, add refusals, drop cache marks of other APIs."""
    readable = [message.model_copy(update={"blocks": _readable(message.blocks)}) for message in messages]
    turns = messages_from_llama_index(readable, provider=CYGNAL.name)
    return with_refusals(turns, [message.additional_kwargs.get("refusal") for message in messages])


def _readable(blocks: Sequence[Any]) -> list[Any]:
    readable: list[Any] = []
    for block in blocks:
        if isinstance(block, CitableBlock):
            readable += _readable(block.content)
        elif isinstance(block, CitationBlock):
            readable.append(block.cited_content)
        elif not isinstance(block, CachePoint):
            readable.append(block)
    return readable


class CygnalPostprocessor(BaseNodePostprocessor):
    """Drops or marks retrieved nodes that contain instructions to the model or violate a rule.

    Example:
        >>> engine = index.as_query_engine(node_postprocessors=[CygnalPostprocessor(cygnal=Cygnal(policy_id="..."))])

    Each node is a separate check of the text that an LLM would get (``MetadataMode.LLM``), as text from outside: `ipi`
    and `mutation` count. Nodes without text pass. The given nodes are not changed.

    Args:
        cygnal: The guard. Default: one created from the environment.
        action: How to handle flagged nodes: ``drop``, ``mark`` or ``observe``. A marked node is a copy with a warning
            after its text and the judgement in ``metadata["cygnal"]``, which is not sent to models.
        on_failure: How to handle nodes while the guard is down: ``raise`` its error, ``closed`` to drop them,
            ``open`` to let them pass.
        max_concurrency: Most nodes judged at once.
        on_judgement: Called with each ``linkspan.guarding.Judgement``, on the thread that created it.

    Raises:
        LinkspanError: When run: the guard failed.
    """

    # A typo must not leave the guard as it is by default.
    model_config = ConfigDict(extra="forbid")

    cygnal: neutral.Cygnal = Field(default_factory=Cygnal)
    action: NodeAction = "drop"
    on_failure: OnFailure = "raise"
    max_concurrency: int = Field(default=4, gt=0)
    on_judgement: Callable[[Judgement], None] | None = Field(default=None, exclude=True)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "CygnalPostprocessor"

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002  # core's signature
    ) -> list[NodeWithScore]:
        judgements = call_each(self._checks(nodes), Check.ask, self.max_concurrency)
        return _kept(nodes, judgements)

    async def _apostprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002  # core's signature
    ) -> list[NodeWithScore]:
        gate = asyncio.Semaphore(self.max_concurrency)
        judgements = await acall_each(self._checks(nodes), Check.aask, gate)
        return _kept(nodes, judgements)

    def _checks(self, nodes: Sequence[NodeWithScore]) -> list[Check]:
        guard = PlaceGuard(self.cygnal, "documents", _ACTIONS[self.action], self.on_failure, self.on_judgement)
        return [guard.check([_turn_of(node)]) for node in nodes]


def _kept(nodes: Sequence[NodeWithScore], judgements: Sequence[Judgement]) -> list[NodeWithScore]:
    return [
        _marked(node, judgement) if judgement.action == "warn" else node
        for node, judgement in zip(nodes, judgements, strict=True)
        if not judgement.withholds
    ]


def _marked(scored: NodeWithScore, judgement: Judgement) -> NodeWithScore:
    node = scored.node
    text = judgement.warned(node.get_content(metadata_mode=MetadataMode.NONE))
    hidden = {
        name: [*getattr(node, name), JUDGEMENT_KEY]
        for name in ("excluded_llm_metadata_keys", "excluded_embed_metadata_keys")
    }
    update = {"metadata": {**node.metadata, JUDGEMENT_KEY: judgement.summary}, **hidden}
    marked = node.model_copy(update=update) if isinstance(node, TextNode) else node.model_copy(update=update, deep=True)
    marked.set_content(text)
    return NodeWithScore(node=marked, score=scored.score)
