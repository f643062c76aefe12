"""Refuse parameters that belong to another API of DataCrunch's servers, and name the alternative.

TGI serves ``generate`` and ``messages``; vLLM and SGLang serve ``openai``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.idle_demands import without_idle_demands

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.errors import LinkspanError

__all__ = ["API", "OPENAI_ONLY", "TGI_ONLY", "refuse_foreign"]

#: The APIs of servers on DataCrunch (Verda).
API = Literal["generate", "messages", "openai"]

#: TGI's parameters that vLLM and SGLang ignore silently, and their equivalent there.
TGI_ONLY: Mapping[str, str] = {
    "adapter_id": "Give the adapter's name as model.",
    "best_of": "Request n answers, or call several times.",
    "decoder_input_details": "vLLM takes prompt_logprobs.",
    "details": "Finish reason and token counts always come.",
    "do_sample": "temperature=0 means greedy decoding.",
    "grammar": "Use a response format or with_structured_output; vLLM also takes structured_outputs.",
    "return_full_text": "Use echo=True for prompts.",
    "top_n_tokens": "Use logprobs=True and top_logprobs.",
    "truncate": "vLLM takes truncate_prompt_tokens.",
    "typical_p": "Use top_p or min_p.",
    "watermark": "vLLM and SGLang have no watermark.",
}

#: Parameters of vLLM and SGLang that TGI ignores or misreads.
OPENAI_ONLY = frozenset({"logit_bias", "min_p", "n", "presence_penalty", "reasoning_effort"})


def refuse_foreign(
    api: API, parameters: Mapping[str, Any], error: type[LinkspanError], *, has_tools: bool = False
) -> dict[str, Any]:
    """Return the parameters that have an effect; refuse those of another API.

    Raises:
        LinkspanError: A parameter belongs to another API; of the class ``error``.
    """
    given = without_idle_demands(parameters, has_tools=has_tools)
    for name in given:
        if api == "openai" and name in TGI_ONLY:
            foreign = (
                f'{name!r} is a parameter of TGI, and api="openai" (vLLM, SGLang) does not take it. {TGI_ONLY[name]} '
                'On a TGI server choose api="generate" or "messages".'
            )
        elif api != "openai" and name in OPENAI_ONLY:
            foreign = (
                f'{name!r} does not work on TGI (api="{api}"): leave it out, or put it into extra_body to send it all '
                'the same. On a vLLM or SGLang server choose api="openai".'
            )
        else:
            continue
        raise error(f"{DATACRUNCH.name}: {foreign}", provider=DATACRUNCH.name)
    return given
