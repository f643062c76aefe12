"""Untrusted text in LangChain: messages in the role ``data``, from the retriever to the API.

The role marks text whose instructions must not be followed: retrieved documents, web pages, tool results. Gray Swan's
API has it. For the others, a model's ``data_role`` decides: an error, unless set to ``"fenced"``. Retrieval with data
messages takes two lines::

    prompt = ChatPromptTemplate([("human", "{question}"), MessagesPlaceholder("documents")])
    chain = {"question": RunnablePassthrough(), "documents": retriever | data_messages} | prompt | model

Source: docs/apis/gray_swan.md#data-role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, ChatMessage, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatMessagePromptTemplate
from langchain_core.runnables import RunnableLambda

from linkspan.errors import ConfigurationError
from linkspan.providers.data_role import listed_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import MessageLikeRepresentation
    from langchain_core.runnables import Runnable, RunnableConfig

__all__ = ["data_after_question", "data_message", "data_messages", "data_template", "retrieve_as_data"]

DataLike = Union[str, Document]
Conversation = Union[str, PromptValue, "Sequence[MessageLikeRepresentation]"]


def data_message(content: DataLike | Sequence[DataLike]) -> ChatMessage:
    """Create one message in the role ``data`` from untrusted text.

    The text is sent unchanged: braces are not placeholders, even in a ``ChatPromptTemplate``, and nothing is added
    around it. The message is core's plain ``ChatMessage``, so it passes through prompts, histories and checkpointers.

    Args:
        content: A text, a document, or a list of either, joined by an empty line, as LangChain's chains join documents.
            To send one message each, use :func:`data_messages`.

    Returns:
        The message. Ids and metadata of documents (such as their source) are not sent, but kept in
        ``additional_kwargs["documents"]``, a list of ``{"id": ..., "metadata": {...}}``.

    Raises:
        ConfigurationError: ``content`` is or contains something else.
    """
    items = _items(content)
    text = "\n\n".join(item if isinstance(item, str) else item.page_content for item in items)
    # A document's id is not the message's: a history would replace the same document of an earlier turn.
    documents = [
        {"id": item.id, "metadata": dict(item.metadata)}
        for item in items
        if isinstance(item, Document) and (item.id or item.metadata)
    ]
    return ChatMessage(role="data", content=text, additional_kwargs={"documents": documents} if documents else {})


def data_messages(contents: DataLike | Sequence[DataLike]) -> list[ChatMessage]:
    """Create one ``data`` message per text or document, in order: ``retriever | data_messages``.

    Raises:
        ConfigurationError: An item is neither a text nor a document.
    """
    return [data_message(item) for item in _items(contents)]


def data_template(template: str = "{context}") -> ChatMessagePromptTemplate:
    """Create a message template in the role ``data`` for a ``ChatPromptTemplate``.

    Use it instead of ``("data", "{context}")``, which core does not support. Values are inserted unchanged: braces in
    them are not placeholders.

    Args:
        template: An f-string template.
    """
    return ChatMessagePromptTemplate.from_template(template, role="data")


def data_after_question(
    messages: Conversation, documents: DataLike | BaseMessage | Sequence[DataLike | BaseMessage]
) -> list[BaseMessage]:
    """Add untrusted text to a conversation after its last question: one ``data`` message per document.

    Args:
        messages: The conversation, in any form that a chat model accepts; a text is one question. It is not changed.
        documents: Texts, documents, or existing ``data`` messages.

    Returns:
        A new list. Data messages that already follow the question stay before the new ones.

    Raises:
        ConfigurationError: There is no question, or a document is of another type.
    """
    conversation = _as_messages(messages)
    place = _question(conversation) + 1
    while place < len(conversation) and _is_data(conversation[place]):
        place += 1
    given: list[Any] = list(documents) if isinstance(documents, (list, tuple)) else [documents]
    data = [item if _is_data(item) else data_message(item) for item in given]
    return [*conversation[:place], *data, *conversation[place:]]


def retrieve_as_data(retriever: Runnable[str, Sequence[Document]]) -> Runnable[Any, list[BaseMessage]]:
    """Create a runnable that retrieves documents for the last question and adds them after it as ``data`` messages.

    Put it before a model, alone or after a prompt: ``retrieve_as_data(retriever) | model``.

    Args:
        retriever: Anything that takes a text and returns documents; it is called with the last human message's text.

    Returns:
        A runnable, sync and async, that takes a conversation in any form that a chat model accepts, and returns
        messages.

    Raises:
        ConfigurationError: When run: there is no question, or the retriever returns something other than documents.
    """

    def retrieve(messages: Any, config: RunnableConfig) -> list[BaseMessage]:
        conversation = _as_messages(messages)
        return data_after_question(conversation, retriever.invoke(_query(conversation), config))

    async def aretrieve(messages: Any, config: RunnableConfig) -> list[BaseMessage]:
        conversation = _as_messages(messages)
        return data_after_question(conversation, await retriever.ainvoke(_query(conversation), config))

    return RunnableLambda(retrieve, afunc=aretrieve, name="retrieve_as_data")


def _query(conversation: Sequence[BaseMessage]) -> str:
    return str(conversation[_question(conversation)].text)


def _items(content: Any) -> list[DataLike]:
    return listed_data(content, (Document,), "langchain_core Documents")


def _as_messages(messages: Any) -> list[BaseMessage]:
    if isinstance(messages, str):
        return [HumanMessage(messages)]
    if isinstance(messages, PromptValue):
        return messages.to_messages()
    return convert_to_messages(messages)


def _is_data(message: Any) -> bool:
    return isinstance(message, ChatMessage) and message.role == "data"


def _question(conversation: Sequence[BaseMessage]) -> int:
    for place in range(len(conversation) - 1, -1, -1):
        message = conversation[place]
        if isinstance(message, HumanMessage) or (
            isinstance(message, ChatMessage) and message.role in {"user", "human"}
        ):
            return place
    raise ConfigurationError("Data must follow a question: add a human message to the conversation.")
