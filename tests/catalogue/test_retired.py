"""Models at their end of life: one warning, at the user's line, and never more than that."""

from __future__ import annotations

import asyncio
import copy
import pickle
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from linkspan import langchain, llama_index
from linkspan.errors import ModelRetiredWarning
from linkspan.providers.catalog import known_models
from tests.catalogue.conftest import KEY, answer, name_of

if TYPE_CHECKING:
    from tests.support.loopback import LoopbackServer

WHOLE = {
    "model": "served",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
}
CHAT = [langchain.ChatScaleway, llama_index.Scaleway]


def warned(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(one.message) for one in caught if issubclass(one.category, ModelRetiredWarning)]


def test_one_warning_at_construction_and_at_the_users_line(cls: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = cls(model="llama-3.1-8b-instruct", api_key=KEY)
    (message,) = warned(caught)
    for part in ("'llama-3.1-8b-instruct'", "2026-04-16", "'mistral-small-3.2-24b-instruct-2506'", "Scaleway"):
        assert part in message
    assert [one.filename for one in caught if issubclass(one.category, ModelRetiredWarning)] == [__file__]
    assert made.model == "llama-3.1-8b-instruct"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("sentence-t5-xxl", r"reached its end of life on 2025-02-26\. The API may refuse it, or .*list_models"),
        ("mistral-small-3.1-24b-instruct-2503", r"on 2025-11-14\. The API answers with 'mistral-small-3\.2-24b"),
        ("llama-3.1-70b-instruct", r"on 2025-05-25\. .*Use 'llama-3\.3-70b-instruct' instead"),
        # What it was routed to has ended as well.
        ("devstral-small-2505", r"answered with 'qwen3-coder-30b-a3b-instruct', which is retired too\. list_models"),
        # A date that no document states, a promise without a name, a model that is left to fail.
        ("devstral-2-123b-instruct-2512", r"probably on 2026-08-01\. .*Use 'qwen3\.5-397b-a17b' instead"),
        ("gemma-3-27b-it", r"probably on 2026-08-01\. .*a similar model of unknown name\. list_models"),
        ("pixtral-12b-2409", r"on 2026-10-01\. The API answers with a similar model of unknown name"),
        ("voxtral-small-24b-2507", r"on 2026-08-01\. Requests for it are refused"),
        ("holo2-30b-a3b", r"reached its end of life\. The API may refuse it"),
        # A preview that one third party says has ended.
        ("glm-5.2", r"may have reached its end of life on 2026-11-16 \(no document of the provider confirms this\)"),
    ],
)
def test_what_is_not_known_is_not_said(model: str, said: str) -> None:
    said += r".* \(Known as of 2026-\d\d-\d\d\.\)$"
    with pytest.warns(ModelRetiredWarning, match=said):
        langchain.ChatScaleway(model=model, api_key=KEY)
    with pytest.warns(UserWarning, match=said):
        llama_index.Scaleway(model=model, api_key=KEY)


@pytest.mark.parametrize(
    "model",
    [
        "mistral-small-3.2-24b-instruct-2506",
        "deepseek-v4-flash-0731",
        "a-model-of-tomorrow",
        # A dedicated deployment goes on with what the public service has given up.
        "meta/llama-3.1-8b-instruct:fp8",
    ],
)
def test_all_others_are_silent(cls: Any, model: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cls(model=model, api_key=KEY).model == model


def test_every_retired_model_of_the_catalogue_warns_and_no_other() -> None:
    for name, info in known_models("scaleway").items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            langchain.ChatScaleway(model=name, api_key=KEY)
        assert bool(warned(caught)) == (info.status == "retired" or name == "glm-5.2"), name


def test_copies_and_pickles_do_not_warn_again(cls: Any) -> None:
    with pytest.warns(ModelRetiredWarning):
        made = cls(model="sentence-t5-xxl", api_key=KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert other.model == "sentence-t5-xxl"
    with pytest.warns(ModelRetiredWarning):
        cls(model="sentence-t5-xxl", api_key=KEY)


@pytest.mark.parametrize("cls", CHAT, ids=name_of)
def test_a_retired_model_of_one_call_warns_too_and_is_asked(server: LoopbackServer, cls: Any, face: str) -> None:
    made = cls(model="gemma-4-26b-a4b-it", api_key=KEY, base_url=f"{server.url}/v1", max_retries=0)
    answer(server, WHOLE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _ask(made, face, model="pixtral-12b-2409")
    assert len(warned(caught)) == 1
    assert server.requests[0].json()["model"] == "pixtral-12b-2409"
    answer(server, WHOLE)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelRetiredWarning)
        _ask(made, face)
    made.close()


def _ask(made: Any, face: str, **kwargs: Any) -> None:
    async def in_a_loop() -> None:
        await (made.ainvoke if hasattr(made, "ainvoke") else made.acomplete)("Hello", **kwargs)
        await made.aclose()

    if face == "async":
        asyncio.run(in_a_loop())
    else:
        (made.invoke if hasattr(made, "invoke") else made.complete)("Hello", **kwargs)
