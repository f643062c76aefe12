"""The contract of both frameworks' classes: how they are made, changed, copied, pickled and closed."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from linkspan.connection import Connected
from linkspan.errors import ConfigurationError
from tests.both.subjects import GUARDS, KEY, OTHER_URL, READERS, SUBJECTS, URL, VECTORS, Server, Subject, refused_as

WITH_MODEL = [*SUBJECTS, *VECTORS, *READERS]
every = pytest.mark.parametrize("subject", [*WITH_MODEL, *GUARDS], ids=lambda subject: subject.id)
every_with_model = pytest.mark.parametrize("subject", WITH_MODEL, ids=lambda subject: subject.id)
every_model = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.id)
prompts = pytest.mark.parametrize(
    "subject", [one for one in SUBJECTS if one.kind == "prompt"], ids=lambda subject: subject.id
)

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda model: model.model_copy(),
    "deep model_copy": lambda model: model.model_copy(deep=True),
}


def own_fields(cls: Any) -> dict[str, Any]:
    """The fields of a class that linkspan declares, not its framework."""
    declaring = [base for base in cls.__mro__ if base.__module__.startswith("linkspan.")]
    names = {one for base in declaring for one in vars(base).get("__annotations__", ())}
    return {one: cls.model_fields[one] for one in names if one in cls.model_fields}


# ------------------------------------------------------------------ construction


@every
def test_the_signature_shows_the_fields_before_the_first_object(subject: Subject) -> None:
    # pydantic builds a class with its first object; a new one has none.
    unbuilt = type("Mine", (subject.cls,), {})
    assert {"api_key", "base_url", *own_fields(subject.cls)} <= {*inspect.signature(unbuilt).parameters}
    assert not any(one.kind is one.VAR_POSITIONAL for one in inspect.signature(unbuilt).parameters.values())


@every
def test_an_unknown_argument_is_refused_with_the_known_one(subject: Subject) -> None:
    with pytest.raises(ConfigurationError, match=r"no argument 'time_out'\. Did you mean 'timeout'\?"):
        subject.make(time_out=3)


@every
def test_a_key_that_is_not_utf_8_is_refused(subject: Subject) -> None:
    with pytest.raises(ConfigurationError, match="not UTF-8") as caught:
        subject.make(api_key="half-a-key\udc80")
    assert "half-a-key" not in repr(caught.value)


@every
def test_an_address_that_is_no_address_is_refused(subject: Subject) -> None:
    for address in (
        "http://[::1",
        "http://[zz]/v1",
        "http://[::1]x/v1",
        "http://xn--a/v1",
        "http://host/\udc80",
        "http://a\uff0fb/v1",
    ):
        with pytest.raises(ConfigurationError, match=r"^base_url "):
            subject.make(base_url=address)


WRONG_ARGUMENTS: list[tuple[str, Any]] = [
    ("timeout", 0),
    ("timeout", True),
    ("timeout", "soon"),
    ("max_retries", -1),
    ("extra_body", ["a"]),
]


@every
def test_a_wrong_argument_is_named(subject: Subject) -> None:
    for name, value in WRONG_ARGUMENTS:
        with refused_as(f"{subject.name}: {name}: ", name, value):
            subject.make(**{name: value})


@every_with_model
def test_a_wrong_model_is_named(subject: Subject, server: Server) -> None:
    with pytest.raises(ConfigurationError, match=f"{subject.name}: model: "):
        subject.make(model=" ")
    model = subject.make(server)
    with pytest.raises(ConfigurationError):
        model.model = ""
    subject.ask(model)


WRONG_PARAMETERS: list[tuple[str, Any]] = [("max_tokens", 0), ("temperature", "hot"), ("stop", 3)]


@every_model
def test_a_wrong_parameter_is_named(subject: Subject) -> None:
    for name, value in WRONG_PARAMETERS:
        with refused_as(f"{subject.name}: {name}: ", name, value):
            subject.make(**{name: value})


@every
def test_a_wrong_argument_shows_no_value(subject: Subject) -> None:
    with pytest.raises(ConfigurationError) as caught:
        subject.make(default_headers=KEY)
    assert KEY not in repr(caught.value)


@every
def test_none_is_nothing(subject: Subject, server: Server) -> None:
    nothing = dict.fromkeys(("default_headers", "extra_body", "timeout", "max_retries", "allow_insecure_http"))
    model = subject.make(server, **nothing)
    assert (model.extra_body, model.timeout, model.max_retries) == ({}, None, 2)
    subject.ask(model)


@every
def test_the_address_has_two_names_and_one_value(subject: Subject) -> None:
    settings = {**subject.settings, "api_key": KEY}
    assert subject.cls(**settings, api_base=URL).base_url == URL
    with pytest.raises(ConfigurationError, match="base_url and api_base are two names"):
        subject.cls(**settings, api_base=URL, base_url=URL)


@every_with_model
def test_the_model_has_two_names_and_one_value(subject: Subject) -> None:
    settings = {name: value for name, value in subject.settings.items() if name != "model"}
    assert subject.cls(**settings, api_key=KEY, base_url=URL, model_name="other").model == "other"
    with pytest.raises(ConfigurationError, match="model and model_name are two names"):
        subject.cls(**settings, api_key=KEY, base_url=URL, model="m", model_name="other")


@prompts
def test_the_apis_own_words(subject: Subject, server: Server) -> None:
    model = subject.make(server, max_new_tokens=7, stop_sequences=["END"])
    assert (model.max_tokens, model.stop) == (7, ["END"])
    subject.ask(model)
    assert server.sent["max_tokens" if subject.settings.get("api") == "openai" else "max_new_tokens"] == 7


@every
def test_every_field_is_described_and_in_the_schema(subject: Subject) -> None:
    cls = subject.cls
    own = [
        name for base in cls.__mro__ if issubclass(base, Connected) for name in vars(base).get("__annotations__", ())
    ]
    fields = [name for name in dict.fromkeys(own) if name in cls.model_fields]
    assert len(fields) > 10
    assert not [name for name in fields if not cls.model_fields[name].description]
    shown = inspect.getdoc(cls) or ""
    assert not [name for name in fields if f"\n    {name}: " not in shown]
    assert "Environment: `" in shown
    described = cls.model_json_schema(mode="serialization")["properties"] if subject.framework == "langchain" else {}
    assert described == {} or described["timeout"]["description"]


SAME = {
    "ChatScaleway": "Scaleway",
    "ChatGraySwan": "GraySwan",
    "ChatLLMEngine": "ChatLLMEngine",
    "ChatDataCrunch": "ChatDataCrunch",
    "LLMEngine": "LLMEngine",
    "DataCrunch": "DataCrunch",
    "ScalewayEmbeddings": "ScalewayEmbedding",
    "ScalewayRerank": "ScalewayRerank",
    "Cygnal": "Cygnal",
    "ScalewayTranscriptionParser": "ScalewayTranscriptionReader",
    "ScalewayOCRParser": "ScalewayOCRReader",
}
#: What one framework alone has, and why.
ONE_FRAMEWORKS = {
    "streaming": "LangChain asks whole where it should stream",
    "max_concurrency": "LangChain hands over several prompts",
    "additional_kwargs": "LlamaIndex's place for parameters",
    "context_window": "LlamaIndex cuts text to it",
    "is_function_calling_model": "LlamaIndex asks before it offers tools",
    "document_instruction": "LangChain's word for text_instruction",
    "text_instruction": "LlamaIndex's word for document_instruction",
    "embed_batch_size": "LlamaIndex's own",
    "chat_template": "LlamaIndex's completion classes chat as well",
    "split_reasoning": "LlamaIndex's completion classes chat as well",
    "data_role": "LlamaIndex's completion classes chat as well",
}


@pytest.mark.parametrize("name", SAME)
def test_both_frameworks_classes_have_the_same_fields(name: str) -> None:
    from linkspan import langchain, llama_index

    ours, theirs = getattr(langchain, name), getattr(llama_index, SAME[name])

    for one in own_fields(ours).keys() ^ own_fields(theirs).keys():
        assert one in ONE_FRAMEWORKS
    for one in (own_fields(ours).keys() & own_fields(theirs).keys()) - ONE_FRAMEWORKS.keys():
        ours_field, theirs_field = ours.model_fields[one], theirs.model_fields[one]
        assert ours_field.description == theirs_field.description, one
        assert ours_field.default == theirs_field.default, one


# ------------------------------------------------------------------ changes


@every
def test_a_change_is_in_force(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    subject.ask(model)
    model.base_url = OTHER_URL
    model.default_headers = {"X-Team": "red"}
    subject.ask(model)
    request = server.requests[-1]
    assert (request.url.host, request.headers["x-team"]) == ("127.0.0.2", "red")


WRONG_CHANGES: list[tuple[str, Any]] = [
    ("timeout", -1),
    ("max_retries", "many"),
    ("base_url", "ftp://nowhere"),
    ("extra_body", 5),
]


@every
def test_a_wrong_change_is_refused_and_changes_nothing(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    for name, value in WRONG_CHANGES:
        before = getattr(model, name)
        with refused_as("", name, value):
            setattr(model, name, value)
        with refused_as("", name, value):
            model.model_copy(update={name: value})
        assert getattr(model, name) == before, name
        subject.ask(model)


@every
def test_a_change_to_none_is_the_default(subject: Subject) -> None:
    model = subject.make(extra_body={"a": 1}, max_retries=5)
    model.extra_body = None
    model.max_retries = None
    assert (model.extra_body, model.max_retries) == ({}, 2)


@every
def test_a_new_key_is_used(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    model.api_key = "another-key-0123456789"
    subject.ask(model)
    headers = " ".join(server.requests[-1].headers.values())
    assert KEY not in headers
    assert model.api_key.get_secret_value() == "another-key-0123456789"


# ------------------------------------------------------------------ copies


@every
def test_a_copy_asks_as_its_original_does(subject: Subject, server: Server) -> None:
    model = subject.make(server, default_headers={"X-Team": "red"})
    for way, copy_of in COPIES.items():
        copied = copy_of(model)
        assert copied.http_client is model.http_client, way
        server.requests.clear()
        subject.ask(copied)
        assert server.requests[-1].headers["x-team"] == "red", way


@every
def test_a_change_of_a_copy_is_its_own(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    subject.ask(model)
    for way, copy_of in COPIES.items():
        copied = copy_of(model)
        copied.base_url = OTHER_URL
        subject.ask(copied)
        assert server.requests[-1].url.host == "127.0.0.2", way
        subject.ask(model)
        assert server.requests[-1].url.host == "127.0.0.1", way


@every
def test_a_copy_with_a_change_has_it_in_force(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    subject.ask(model)
    copied = model.model_copy(update={"api_base": OTHER_URL, "extra_body": {"mark": 1}})
    subject.ask(copied)
    assert server.requests[-1].url.host == "127.0.0.2"
    assert server.body["mark"] == 1
    assert (model.base_url, model.extra_body) == (URL, {})


@every
def test_a_copy_with_an_unknown_change_is_refused(subject: Subject) -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'timeout'"):
        subject.make().model_copy(update={"time_out": 3})


# ------------------------------------------------------------------ pickles


@every
def test_a_pickle_makes_the_round_trip(subject: Subject) -> None:
    model = subject.make(default_headers={"X-Team": "red"}, timeout=7)
    again = pickle.loads(pickle.dumps(model))
    assert again.api_key.get_secret_value() == KEY
    assert (again.base_url, again.default_headers, again.timeout) == (URL, {"X-Team": "red"}, 7)


@every
def test_a_pickle_of_injected_clients_is_refused(subject: Subject, server: Server) -> None:
    with pytest.raises(ConfigurationError, match="set them afterwards"):
        pickle.dumps(subject.make(server))


# ------------------------------------------------------------------ the life of a connection


@every
def test_closed_objects_can_be_used_again(subject: Subject, server: Server) -> None:
    with subject.make(server) as model:
        subject.ask(model)
    subject.ask(model)
    model.close()
    model.close()
    subject.ask(model)
    assert len(server.requests) == 3
    assert not model.http_client.is_closed


@every_model
async def test_closed_objects_can_be_used_again_async(subject: Subject, server: Server) -> None:
    async with subject.make(server) as model:
        assert await subject.aask(model) == "there"
    await model.aclose()
    assert await subject.aask(model) == "there"
    assert not model.http_async_client.is_closed


@pytest.mark.parametrize(
    "subject",
    [one for one in WITH_MODEL if "GraySwan" not in one.name],
    ids=lambda subject: subject.id,
)
async def test_models_are_listed(subject: Subject, server: Server) -> None:
    model = subject.make(server)
    assert [listed.id for listed in model.list_models()] == ["m"]
    assert [listed.id for listed in await model.alist_models()] == ["m"]
