"""The parameters with which each dialect returns the most likely tokens at each place of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CHAT_LIKELY_TOKENS", "TGI_CHAT_LIKELY_TOKENS", "TGI_LIKELY_TOKENS", "LikelyTokens"]


class LikelyTokens(NamedTuple):
    """How to request likely tokens.

    Attributes:
        parameters: The parameters of the call; greedy, as the answer itself is not of interest.
        most: How many of the likeliest tokens are given at each place.
    """

    parameters: Mapping[str, Any]
    most: int


#: The request to Chat Completions servers; vLLM and OpenAI return no more.
CHAT_LIKELY_TOKENS = LikelyTokens({"temperature": 0, "logprobs": True, "top_logprobs": 20}, 20)

#: TGI's limit, unless its operator raises it.
_TGI_MOST = 5
#: The request to TGI's chat route.
TGI_CHAT_LIKELY_TOKENS = LikelyTokens({**CHAT_LIKELY_TOKENS.parameters, "top_logprobs": _TGI_MOST}, _TGI_MOST)
#: The request to TGI's prompt route.
TGI_LIKELY_TOKENS = LikelyTokens({"temperature": 0, "details": True, "top_n_tokens": _TGI_MOST}, _TGI_MOST)
