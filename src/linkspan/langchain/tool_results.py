"""Middleware for LangChain's agents: what tools return is untrusted text. It needs ``langchain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware

from linkspan.errors import ConfigurationError
from linkspan.langchain.chat_model import LinkspanChatModel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain.agents.middleware import ModelRequest, ModelResponse

__all__ = ["ToolResultsAsData"]


class ToolResultsAsData(AgentMiddleware[Any, Any]):
    """Let what an agent's tools return travel as untrusted text, whose instructions are not to be followed.

    ::

        agent = create_agent(ChatGraySwan(), tools=[fetch_page], middleware=[ToolResultsAsData()])

    It sets ``tool_results="data"`` for the agent's calls. On an API with the role ``data`` each result is a turn in
    that role, under a line that names the call it answers; with a model's ``data_role="fenced"`` it stays the tool's
    turn, with its text between marks; on other APIs the call is refused, with these choices. The agent's state keeps
    the tool messages as they are.

    Other middleware that writes results into prompts of its own, such as a summary of the conversation, does so in
    whatever role it likes.
    """

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Ask the model with results as data.

        Raises:
            ConfigurationError: The model is not one of linkspan's chat models.
        """
        return handler(_with_results_as_data(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Ask the model with results as data.

        Raises:
            ConfigurationError: The model is not one of linkspan's chat models.
        """
        return await handler(_with_results_as_data(request))


def _with_results_as_data(request: ModelRequest[Any]) -> ModelRequest[Any]:
    if not isinstance(request.model, LinkspanChatModel):
        raise ConfigurationError(
            "ToolResultsAsData knows how linkspan's chat models carry untrusted text, not how a "
            f"{type(request.model).__name__} would: use one of linkspan's, or leave the middleware out."
        )
    return request.override(model_settings={**request.model_settings, "tool_results": "data"})
