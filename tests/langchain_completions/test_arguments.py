"""Arguments that are wrong, or that other packages' classes would take: what a user is told."""

from __future__ import annotations

import base64
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from linkspan import errors
from linkspan.sandbox import HTTPError, Reply
from tests.langchain_completions.conftest import CHATS, COMPLETIONS, KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan.sandbox import Sandbox


class Song(BaseModel):
    name: str
    year: int | None = None


@pytest.mark.parametrize("any_kind", [*COMPLETIONS, *CHATS])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"temperature": "hot"}, "temperature: Input should be a valid number"),
        ({"stop": [1]}, r"stop\.0: Input should be a valid string"),
        ({"max_retries": -1}, "max_retries"),
        ({"api_key": 5}, "api_key must be text"),
    ],
)
def test_a_wrong_argument_is_a_configuration_error(
    make: Callable[..., Any], any_kind: str, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(errors.ConfigurationError, match=words) as caught:
        make(any_kind, **wrong)
    assert KEY not in str(caught.value)


def test_a_wrong_argument_does_not_show_its_value(make: Callable[..., Any]) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        make("llm_engine", max_tokens=KEY)
    assert KEY not in f"{caught.value}{caught.value!r}"


@pytest.mark.parametrize("any_kind", [*COMPLETIONS, *CHATS])
def test_none_stands_for_an_empty_mapping(make: Callable[..., Any], any_kind: str, sandbox: Sandbox) -> None:
    make(any_kind, extra_body=None, default_headers=None).invoke("hello")
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("any_kind", [*COMPLETIONS, *CHATS])
@pytest.mark.parametrize("word", ["extra_headers", "extra_query"])
def test_headers_of_one_call_never_end_up_in_the_body(
    make: Callable[..., Any], any_kind: str, word: str, sandbox: Sandbox
) -> None:
    with pytest.raises(errors.ConfigurationError, match="default_headers"):
        make(any_kind).invoke("hello", **{word: {"X-Secret": KEY}})
    assert not sandbox.requests


@pytest.mark.parametrize("any_kind", [*COMPLETIONS, *CHATS])
@pytest.mark.parametrize("seconds", [0, -1, "5", True, float("nan")])
def test_a_timeout_is_a_number_of_seconds(
    make: Callable[..., Any], any_kind: str, seconds: Any, sandbox: Sandbox
) -> None:
    with pytest.raises(errors.ConfigurationError, match="timeout must be more than 0 seconds"):
        make(any_kind).invoke("hello", timeout=seconds)
    assert not sandbox.requests


@pytest.mark.parametrize("method", ["json_mode", "function_calling", "telepathy"])
def test_a_completion_model_has_one_method(llm: Any, method: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match=f"one method, 'json_schema', not '{method}'"):
        llm.with_structured_output(Song, method=method)


def test_method_and_strict_are_no_parameters_of_the_api(llm: Any, sandbox: Sandbox) -> None:
    assert llm.with_structured_output(Song, method="json_schema").invoke("x") == Song(name="text")
    llm.with_structured_output(Song, strict=True).invoke("x")
    loose, strict = (_schema(request.json) for request in sandbox.requests)
    assert "additionalProperties" not in loose
    assert loose["required"] == ["name"]
    assert strict["additionalProperties"] is False
    assert strict["required"] == ["name", "year"]


def _schema(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["guided_json"] if "guided_json" in body else body["parameters"]["grammar"]["value"]
    return found


def test_a_schema_that_is_none_is_a_configuration_error(make: Callable[..., Any]) -> None:
    with pytest.raises(errors.ConfigurationError, match="No JSON schema can be made of"):
        make("chat_v2").with_structured_output(int, method="function_calling")


def test_the_key_is_masked_in_its_basic_form_too(make: Callable[..., Any], sandbox: Sandbox) -> None:
    """Basic authentication carries the key in another writing, which a server may repeat."""
    sent = base64.b64encode(f"{KEY}:".encode()).decode()
    echo = HTTPError(400, body={"detail": f"cannot read Basic {sent}"}, headers={"X-Echo": f"Basic {sent}"})
    sandbox.add_rule(Reply(fault=echo))
    with pytest.raises(errors.InvalidRequestError) as caught:
        make("llm_engine").invoke("x")
    error = caught.value
    assert "cannot read Basic ****" in str(error)
    shown = f"{error}{error!r}{error.args}{error.body}{error.headers}{pickle.dumps(error)!r}"
    assert sent not in shown


def test_credentials_among_the_headers_are_masked(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(400, message="cannot read my-own-secret-token")))
    with pytest.raises(errors.InvalidRequestError, match=r"cannot read \*\*\*\*"):
        make("container", default_headers={"Authorization": "Bearer my-own-secret-token"}).invoke("x")
