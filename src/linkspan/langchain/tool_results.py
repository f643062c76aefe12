"""Middleware for LangChain agents that sends tool results as untrusted text. Needs the package ``langchain``."""

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
    """Send an agent's tool results as untrusted text, whose instructions the model must not follow.

    ::

        agent = create_agent(ChatGraySwan(), tools=[fetch_page], middleware=[ToolResultsAsData()])

    Sets ``tool_results="data"`` for the agent's calls. If the API has the role ``data``, each result becomes a turn in
    that role, after a line that names its call. With ``data_role="fenced"`` it stays a tool turn, with marks around its
    text. Otherwise the call raises an error that lists these choices. The tool messages in the agent's state do not
    change.

    Other middleware may write results into its own prompts, such as a summary of the conversation, in any role.
    """

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model with tool results as data.

        Raises:
            ConfigurationError: The model is not a chat model of linkspan.
        """
        return handler(_with_results_as_data(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Call the model with tool results as data.

        Raises:
            ConfigurationError: The model is not a chat model of linkspan.
        """
        return await handler(_with_results_as_data(request))


def _with_results_as_data(request: ModelRequest[Any]) -> ModelRequest[Any]:
    if not isinstance(request.model, LinkspanChatModel):
        raise ConfigurationError(
            "ToolResultsAsData needs a chat model of linkspan to carry untrusted text, not a "
            f"{type(request.model).__name__}. Change the model or remove the middleware."
        )
    return request.override(model_settings={**request.model_settings, "tool_results": "data"})
