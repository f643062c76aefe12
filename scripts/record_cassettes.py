"""Record the cassettes again: run their tests against real servers instead of the recordings.

``make cassettes`` records all of them from servers on this machine, ``make cassettes ENGINE=vllm`` only those of one
engine, ``make cassettes LIVE=scaleway`` those of one provider from its real service. The old cassettes are replaced
only if every test passes against the real answers. See ``docs/cassettes.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import sys
import tempfile
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import vllm_server  # noqa: E402
from tests.cassettes import agent_script  # noqa: E402
from tests.cassettes.recording import Recording, refuse_secrets  # noqa: E402
from tests.cassettes.tape import CASSETTES, KEY, Source  # noqa: E402
from tests.conformance.langchain.answers import RULES  # noqa: E402

from linkspan.errors import ConfigurationError  # noqa: E402
from linkspan.providers.scaleway import SCALEWAY  # noqa: E402
from linkspan_sandbox import LLMEngineOptions, run  # noqa: E402
from linkspan_sandbox.commands.weights import ensure_weights  # noqa: E402
from linkspan_sandbox.local_model import FILE_NAME, MODEL_NAME  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from linkspan_sandbox import Sandbox

    Start = Callable[[], AbstractContextManager[Source]]

PACKAGES = ("linkspan", "langchain-core", "llama-index-core", "httpx", "vcrpy")

#: Variables whose values must never be in a cassette.
SECRET_VARIABLES = (
    *SCALEWAY.api_key_env,
    "SCW_ACCESS_KEY",
    "SCW_DEFAULT_PROJECT_ID",
    "SCW_DEFAULT_ORGANIZATION_ID",
)

#: The real Scaleway's models, by the local source that replaces them: a model with tools but no reasoning, one with
#: reasoning, one for vectors.
LIVE_SCALEWAY = {
    "sandbox": "mistral-small-3.2-24b-instruct-2506",
    "sandbox-gateway": "mistral-small-3.2-24b-instruct-2506",
    "scripted-scaleway": "mistral-small-3.2-24b-instruct-2506",
    "vllm-chat": "mistral-small-3.2-24b-instruct-2506",
    "vllm-reasoning": "qwen3.6-35b-a3b",
    "vllm-responses": "gpt-oss-120b",
    "vllm-responses-reasoning": "gpt-oss-120b",
    "vllm-vectors": "qwen3-embedding-8b",
}


def main() -> int:
    """Record into a new directory, then replace the old cassettes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    which = parser.add_mutually_exclusive_group()
    engines = {**ENGINES, **{name: {name: start} for engine in ENGINES.values() for name, start in engine.items()}}
    which.add_argument("--engine", choices=sorted(engines), help="record only the cassettes of this engine or source")
    which.add_argument(
        "--live", choices=sorted(LIVE), help="record from the real service; needs its key in the environment"
    )
    arguments = parser.parse_args()
    try:
        if arguments.live:
            return record(LIVE[arguments.live](), live=True)
        chosen = [engines[arguments.engine]] if arguments.engine else ENGINES.values()
        return record({name: start for engine in chosen for name, start in engine.items()})
    except (ConfigurationError, vllm_server.VLLMError) as error:
        say(str(error))
        return 1


def record(sources: dict[str, Start], *, live: bool = False) -> int:
    """Run the tests that the sources can answer; keep their cassettes if all pass."""
    # Only cassettes older than the test collection can belong to removed tests.
    before = sorted(CASSETTES.rglob("*.yaml"))
    # Next to the cassettes, so that finished files can be moved atomically.
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".recording-") as directory:
        recording = Recording(sources, Path(directory), live=live)
        # Uncaptured, so that the servers' output is visible.
        folders = [str(ROOT / "tests" / name) for name in ("cassettes", "conformance/langchain")]
        # This script imports plugins before pytest does.
        unwarned = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        options = ["-q", "-s", "-p", "no:cacheprovider", *unwarned, f"--rootdir={ROOT}", *folders]
        try:
            failed = pytest.main(options, [recording])
        finally:
            # Also after Ctrl-C, when pytest may not have done it.
            recording.close()
        if failed:
            say("a test failed against the real answers: the cassettes are unchanged")
            return int(failed)
        secrets = {name: os.environ.get(name, "").strip() for name in SECRET_VARIABLES}
        for name in recording.recorded:
            refuse_secrets(Path(directory) / name, secrets)
        for name in recording.recorded:
            (CASSETTES / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(directory) / name).replace(CASSETTES / name)
    say(f"recorded {len(recording.recorded)} of {len(recording.known)} cassettes into {CASSETTES.relative_to(ROOT)}/")
    for path in before:
        if path.relative_to(CASSETTES).as_posix() not in recording.known:
            path.unlink()
            say(f"removed {path.relative_to(ROOT)}, which no test uses any more")
    return 0


# ---------------------------------------------------------------------- sources on this machine


@contextlib.contextmanager
def sandbox_source(dialect: str, engine: str, model: str) -> Iterator[Source]:
    """The sandbox with llama.cpp behind it."""
    ensure_weights()
    say(f"starting the sandbox with the local model, for {dialect}")
    # Also LLM Engine endpoints with old images, to record answers that need guided_json.
    with run("local", api_key=KEY, llm_engine_options=LLMEngineOptions(obeys_guides=True)) as sandbox:
        yield Source(address(sandbox, dialect), provenance(engine, model), MODEL_NAME)


@contextlib.contextmanager
def scripted_source(dialect: str, model: str) -> Iterator[Source]:
    """The sandbox with a script behind it."""
    say(f"starting the scripted sandbox, for {dialect}")
    with run(rules=RULES, api_key=KEY, llm_engine_options=LLMEngineOptions(obeys_guides=True)) as sandbox:
        engine = f"linkspan's sandbox in {dialect}'s dialect, by the script tests/conformance/langchain/answers.py"
        yield Source(address(sandbox, dialect), provenance(engine, "none, a script"), model)


def address(sandbox: Sandbox, dialect: str) -> str:
    """Return a dialect's base URL."""
    return {
        "Scaleway": sandbox.scaleway_url,
        "Gray Swan": sandbox.gray_swan_url,
        "LLM Engine": sandbox.llm_engine_url,
        "TGI": sandbox.tgi_url,
        "vLLM": sandbox.vllm_url,
    }[dialect]


@contextlib.contextmanager
def agents_source(dialect: str, model: str) -> Iterator[Source]:
    """The sandbox with the script of the agents behind it."""
    say(f"starting the scripted sandbox, for agents in {dialect}'s dialect")
    with run(rules=agent_script.RULES, api_key=KEY) as sandbox:
        engine = f"linkspan's sandbox in {dialect}'s dialect, by the script tests/cassettes/agent_script.py"
        yield Source(address(sandbox, dialect), provenance(engine, "none, a script"), model)


@contextlib.contextmanager
def vllm_source(model: vllm_server.Model) -> Iterator[Source]:
    """VLLM, called directly."""
    with vllm_server.serving(model, KEY) as base_url:
        engine = f"vLLM {vllm_server.VLLM.partition('==')[2]} on the CPU, asked directly"
        yield Source(base_url, provenance(engine, model.description), model.name)


@contextlib.contextmanager
def vllm_rag_source() -> Iterator[Source]:
    """VLLM twice: one server for chat, one for embeddings and rerank."""
    with (
        vllm_server.serving(vllm_server.CHAT, KEY) as chat_url,
        vllm_server.serving(vllm_server.VECTORS, KEY) as vectors_url,
    ):
        engine = f"vLLM {vllm_server.VLLM.partition('==')[2]} on the CPU, asked directly, one server for each model"
        models = f"{vllm_server.CHAT.description}, and {vllm_server.VECTORS.description} for embeddings and rerank"
        first_line = provenance(engine, models)
        vectors = Source(vectors_url, first_line, vllm_server.VECTORS.name)
        yield Source(chat_url, first_line, vllm_server.CHAT.name, vectors=vectors)


def llama_cpp(dialect: str) -> Start:
    """Return a function that starts the sandbox in a dialect, with llama.cpp."""
    engine = f"llama.cpp (xllamacpp {version('xllamacpp')}) behind linkspan's sandbox in {dialect}'s dialect"
    return partial(sandbox_source, dialect, engine, FILE_NAME.removesuffix(".gguf"))


ENGINES: dict[str, dict[str, Start]] = {
    "llama.cpp": {
        "sandbox": llama_cpp("Scaleway"),
        "sandbox-gateway": partial(
            sandbox_source,
            "Scaleway",
            "linkspan's sandbox, whose checks in front of the model refuse the request as Scaleway's gateway is "
            "documented to",
            "none was asked",
        ),
        "sandbox-responses": llama_cpp("Scaleway"),
        "sandbox-gray-swan": llama_cpp("Gray Swan"),
        "sandbox-llm-engine": llama_cpp("LLM Engine"),
        "sandbox-datacrunch": llama_cpp("TGI"),
        "sandbox-vllm": llama_cpp("vLLM"),
    },
    "scripted": {
        "scripted-scaleway": partial(scripted_source, "Scaleway", "mistral-small-3.2-24b-instruct-2506"),
        "scripted-responses": partial(scripted_source, "Scaleway", "gpt-oss-120b"),
        "scripted-gray-swan": partial(scripted_source, "Gray Swan", "cygnet"),
        "scripted-llm-engine": partial(scripted_source, "LLM Engine", "llama-3-8b-instruct"),
        "scripted-datacrunch": partial(scripted_source, "TGI", "mixtral"),
        "scripted-vllm": partial(scripted_source, "vLLM", "sandbox"),
        "scripted-agents-scaleway": partial(agents_source, "Scaleway", "mistral-small-3.2-24b-instruct-2506"),
        "scripted-agents-gray-swan": partial(agents_source, "Gray Swan", "cygnet"),
        "scripted-agents-llm-engine": partial(agents_source, "LLM Engine", "llama-3-8b-instruct"),
        "scripted-agents-datacrunch": partial(agents_source, "TGI", "mixtral"),
    },
    "vllm": {
        "vllm-chat": partial(vllm_source, vllm_server.CHAT),
        "vllm-reasoning": partial(vllm_source, vllm_server.REASONING),
        "vllm-responses": partial(vllm_source, vllm_server.CHAT),
        "vllm-responses-reasoning": partial(vllm_source, vllm_server.REASONING),
        "vllm-datacrunch": partial(vllm_source, vllm_server.CHAT),
        "vllm-datacrunch-reasoning": partial(vllm_source, vllm_server.REASONING),
        "vllm-vectors": partial(vllm_source, vllm_server.VECTORS),
        "vllm-rag": vllm_rag_source,
    },
}


# ---------------------------------------------------------------------- the real services


def live_scaleway() -> dict[str, Start]:
    """Return the real Scaleway for each of its sources. ``SCALEWAY_BASE_URL`` may be a project's base URL.

    Raises:
        ConfigurationError: No key is set.
    """
    key = next((value for name in SCALEWAY.api_key_env if (value := os.environ.get(name, "").strip())), None)
    if key is None:
        raise ConfigurationError(f"to record from the real Scaleway, set {' or '.join(SCALEWAY.api_key_env)}")
    base_url = SCALEWAY.resolve_base_url(None)

    def live_source(models: tuple[str, ...]) -> Start:
        first_line = provenance("live, Scaleway", " and ".join(models))
        chat, *others = (Source(base_url, first_line, model, key) for model in models)
        return partial(contextlib.nullcontext, replace(chat, vectors=others[0]) if others else chat)

    made = {name: live_source((model,)) for name, model in LIVE_SCALEWAY.items()}
    return {**made, "vllm-rag": live_source((LIVE_SCALEWAY["vllm-chat"], LIVE_SCALEWAY["vllm-vectors"]))}


LIVE = {"scaleway": live_scaleway}


def provenance(engine: str, model: str) -> str:
    """Return the first line of cassettes: server, client and date."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    date = dt.datetime.now(dt.timezone.utc).date().isoformat()
    return f"engine: {engine}; model: {model}; with {versions}; {date}"


def say(text: str) -> None:
    """Print a line and flush, also into a pipe."""
    sys.stdout.write(f"cassettes: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
