"""``scripts/refresh_catalogue.py`` against a server that answers in the documented shape."""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from linkspan.providers.catalog import read_catalogue
from tests.support.loopback import LoopbackServer, http

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from linkspan.providers.catalog import ModelInfo
    from tests.support.loopback import ReceivedRequest

SCRIPT = Path(__file__).parents[2] / "scripts" / "refresh_catalogue.py"
PATH = "/product-catalog/v2alpha1/public-catalog/products"

KNOWN: dict[str, Any] = {
    "as_of": "2026-01-01",
    "note": "kept",
    "models": {
        "glm-5.2": {
            "context_window": 256000,
            "max_output_tokens": 16384,
            "tools": True,
            "reasoning": True,
            "reasoning_efforts": ["none", "high", "max"],
            "price": {"input": 1.8, "output": 5.5, "as_of": "2026-01-01", "currency": "EUR"},
            "status": "preview",
        },
        "gone-1": {"context_window": 8000, "status": "active"},
        "old-1": {"status": "retired", "end_of_life": "2025-05-25", "successor": "glm-5.2"},
    },
    "dedicated": {"as_of": "2025-12-01", "models": {"glm-5.2": {"context_window": 1000}}},
}


def row(
    product: str,
    token_type: str,
    nanos: int,
    *,
    units: int = 0,
    mode: str = "realtime",
    status: str = "preview",
    category: str = "Generative APIs",
    **properties: Any,
) -> dict[str, Any]:
    """A row of the product catalogue, per 1000 tokens."""
    return {
        "sku": f"/genapi/{product}/{token_type}/{mode}",
        "product": product,
        "product_category": category,
        "status": status,
        "unit_of_measure": {"unit": "token", "size": 1000},
        "price": {"retail_price": {"currency_code": "EUR", "units": units, "nanos": nanos}},
        "properties": {
            "generative_apis": {
                "provider_name": "Someone",
                "tasks": ["chat"],
                "supported_apis": ["/v1/chat/completions"],
                "token_type": token_type,
                "consumption_mode": mode,
                **properties,
            }
        },
    }


def per_minute(of_tokens: dict[str, Any]) -> dict[str, Any]:
    return {**of_tokens, "unit_of_measure": {"unit": "second", "size": 60}}


GLM = {"reasoning": True, "supported_reasoning_values": ["none", "high", "max"], "default_reasoning_value": "high"}
#: The prices that are known, and rows that are none of ours.
UNCHANGED = [
    {
        "product": "DEV1-S",
        "product_category": "Instance",
        "status": "general_availability",
        "properties": {"hardware": {}},
    },
    row("glm-5.2", "input_token", 1_800_000, **GLM),
    row("glm-5.2", "output_token", 5_500_000, **GLM),
    row("glm-5.2", "input_token", 900_000, mode="batch", **GLM),
    row("glm-5.2", "input_cached_token", 90_000, mode="batch", **GLM),
    row("H100-deployment", "input_token", 5, category="Inference Dedicated"),
]


class Products:
    """The product catalogue: as many rows per page as told, whatever page size is asked for."""

    def __init__(self, rows: Sequence[Any], per_page: int = 1000, *, total: bool = True) -> None:
        self.rows, self.per_page, self.total = rows, per_page, total

    def __call__(self, request: ReceivedRequest) -> list[bytes]:
        page = int(parse_qs(request.target.partition("?")[2])["page"][0])
        answer: dict[str, Any] = {"products": self.rows[(page - 1) * self.per_page : page * self.per_page]}
        if self.total:
            answer["total_count"] = len(self.rows)
        return [http(200, json.dumps(answer).encode())]


@pytest.fixture(scope="module")
def main() -> Callable[[list[str]], int]:
    return runpy.run_path(str(SCRIPT))["main"]


class Refresh:
    """Runs the script on a file of its own."""

    def __init__(self, directory: Path, server: LoopbackServer, main: Callable[[list[str]], int]) -> None:
        self.main = main
        self.file = directory / "catalog_scaleway.json"
        self.file.write_text(json.dumps(KNOWN), "utf-8")
        self.server = server

    def __call__(self, *options: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
        arguments = ["--file", str(self.file), "--url", url or self.server.url + PATH, *options]
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = self.main(arguments)
        return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())

    def with_rows(self, rows: Sequence[Any], *options: str, per_page: int = 1000, total: bool = True) -> str:
        self.server.respond = Products(rows, per_page, total=total)
        done = self(*options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def read(self) -> Mapping[str, ModelInfo]:
        return read_catalogue(self.file.read_text("utf-8")).models

    def models(self) -> dict[str, Any]:
        return json.loads(self.file.read_text("utf-8"))["models"]


@pytest.fixture
def refresh(tmp_path: Path, main: Callable[[list[str]], int]) -> Any:
    with LoopbackServer() as server:
        yield Refresh(tmp_path, server, main)


def test_its_user_runs_it_as_a_program(refresh: Refresh) -> None:
    refresh.server.respond = Products(UNCHANGED)
    command = [sys.executable, str(SCRIPT), "--file", str(refresh.file), "--url", refresh.server.url + PATH]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert (done.returncode, done.stderr) == (0, "")
    assert "added" not in done.stdout
    assert done.stdout.splitlines()[-1].endswith("; 1 models in the product catalogue")
    refresh.server.respond = None
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 1
    assert "is unchanged" in done.stderr


def test_what_it_does_not_say_is_kept_and_the_file_is_dated(refresh: Refresh) -> None:
    said = refresh.with_rows(UNCHANGED)
    catalogue = json.loads(refresh.file.read_text("utf-8"))
    day = catalogue["feed_as_of"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", day)
    assert day > "2026-01-01"
    # The day on which the documents were read is another.
    assert (catalogue["as_of"], catalogue["note"], catalogue["dedicated"]) == (
        "2026-01-01",
        "kept",
        KNOWN["dedicated"],
    )
    glm = catalogue["models"]["glm-5.2"]
    assert (glm["context_window"], glm["max_output_tokens"], glm["tools"]) == (256000, 16384, True)
    assert glm["price"] == {"input": 1.8, "output": 5.5, "as_of": day, "currency": "EUR"}
    assert (glm["as_of"], glm["supported_apis"]) == (day, ["chat/completions"])
    assert "as_of" not in catalogue["models"]["gone-1"]
    assert catalogue["models"]["old-1"] == KNOWN["models"]["old-1"]
    # A price that was only confirmed is no change; what is retired need not be there.
    assert [line for line in said.splitlines() if line.startswith(("added", "changed", "vanished"))] == [
        'changed  glm-5.2: kind null -> "chat"',
        "changed  glm-5.2: vision null -> false",
        'changed  glm-5.2: default_reasoning_effort null -> "high"',
        'changed  glm-5.2: supported_apis null -> ["chat/completions"]',
        "vanished gone-1: no longer in the product catalogue; kept, set its status by hand if it is gone",
    ]
    assert set(catalogue["models"]) == {"glm-5.2", "gone-1", "old-1"}


def test_changes_are_reported_and_written(refresh: Refresh) -> None:
    changed = {"tasks": ["chat", "vision"], "reasoning": True, "supported_reasoning_values": ["none", "low"]}
    said = refresh.with_rows(
        [
            row("glm-5.2", "input_token", 2_000_000, status="general_availability", **changed),
            row("glm-5.2", "output_token", 6_000_000, status="end_of_growth", **changed),
            row("glm-5.2", "input_cached_token", 360_000, status="general_availability", **changed),
        ]
    )
    glm = refresh.read()["glm-5.2"]
    assert glm.price is not None
    assert (glm.price.input, glm.price.output, glm.price.cached_input) == (Decimal(2), Decimal(6), Decimal("0.36"))
    assert glm.vision is True
    # Where its rows differ, the status that is nearest to the end.
    assert glm.status == "deprecated"
    assert 'changed  glm-5.2: status "preview" -> "deprecated"' in said
    assert re.search(r'changed  glm-5\.2: price \{"input": 1\.8, .* -> \{"input": 2\.0,', said)


def test_what_only_documents_say_is_kept_and_told(refresh: Refresh) -> None:
    known = json.loads(json.dumps(KNOWN))
    known["models"]["glm-5.2"] |= {
        "vision": True,
        "supported_apis": ["chat/completions", "responses"],
        "unsupported_apis": ["embeddings"],
        "price": {"input": 1.8, "output": 5.5, "cached_input": 0.2, "as_of": "2026-01-01"},
    }
    refresh.file.write_text(json.dumps(known), "utf-8")
    says = {
        **GLM,
        "supported_reasoning_values": ["none", "low"],
        "supported_apis": ["/v1/chat/completions", "/v1/embeddings"],
    }
    said = refresh.with_rows(
        [
            row("glm-5.2", "input_token", 1_800_000, **says),
            row("glm-5.2", "output_token", 6_000_000, **says),
            row("old-1", "input_token", 1_000_000, status="end_of_new_features"),
        ]
    )
    glm, old = refresh.read()["glm-5.2"], refresh.read()["old-1"]
    assert glm.reasoning_efforts == ("none", "high", "max", "low")
    assert glm.supported_apis == ("chat/completions", "responses", "embeddings")
    assert glm.unsupported_apis == ()
    assert glm.vision is True
    assert glm.price is not None
    assert (glm.price.output, glm.price.cached_input) == (Decimal(6), Decimal("0.2"))
    # Announced to end by the feed, but retired by a document: the nearer end stands, with the document's date.
    assert (old.status, str(old.as_of), str(old.end_of_life)) == ("retired", "2026-01-01", "2025-05-25")
    assert [line for line in said.splitlines() if line.startswith("kept")] == [
        f"kept     {fact} is not in the product catalogue; check it by hand"
        for fact in (
            'glm-5.2: reasoning_efforts ["high", "max"]',
            'glm-5.2: supported_apis ["responses"]',
            "glm-5.2: vision true",
            'glm-5.2: price {"cached_input": 0.2}',
            'old-1: status "retired"',
        )
    ]


def test_new_models_of_every_kind_are_added(refresh: Refresh) -> None:
    said = refresh.with_rows(
        [
            *UNCHANGED,
            row("new-chat", "output_token", 0, units=1, status="general_availability"),
            row("new-chat", "input_token", 250_000, status="general_availability"),
            row("new-embedding", "input_token", 100_000, status="public_beta", tasks=["embeddings"]),
            per_minute(row("new-ear", "input_duration", 3_000_000, tasks=["audio_transcription"])),
        ]
    )
    known = refresh.read()
    chat = known["new-chat"]
    assert (chat.kind, chat.status, chat.tools, chat.structured_output) == ("chat", "active", True, True)
    assert chat.price is not None
    assert (chat.price.input, chat.price.output) == (Decimal("0.25"), Decimal(1000))
    embedding = known["new-embedding"]
    assert (embedding.kind, embedding.status, embedding.tools) == ("embedding", "preview", False)
    assert embedding.price is not None
    assert (embedding.price.input, embedding.price.output) == (Decimal("0.1"), None)
    ear = known["new-ear"]
    assert ear.kind == "transcription"
    assert ear.price is not None
    assert (ear.price.input, ear.price.audio_minute) == (None, Decimal("0.003"))
    assert "added    new-chat (active): check it by hand; enter context_window" in said
    assert "added    new-embedding (preview): check it by hand\n" in said


def test_the_order_is_stable_whatever_the_order_of_the_rows(refresh: Refresh) -> None:
    rows = [
        *UNCHANGED,
        row("b-new", "input_token", 1),
        row("a-old", "input_token", 1, status="end_of_life"),
        row("a-old", "output_token", 1, status="end_of_sale"),
    ]
    refresh.with_rows(rows)
    first = refresh.file.read_text("utf-8")
    assert list(refresh.models()) == ["b-new", "glm-5.2", "gone-1", "a-old", "old-1"]
    refresh.with_rows(rows[::-1])
    assert refresh.file.read_text("utf-8") == first


@pytest.mark.parametrize("total", [True, False])
def test_all_pages_are_read_and_no_key_is_sent(refresh: Refresh, total: bool) -> None:
    # Without a total, a page that is not full would end it: so pages are full here, and the last one is empty.
    filler = [{"product": f"DEV-{n}", "product_category": "Instance"} for n in range(2000 - len(UNCHANGED))]
    refresh.with_rows([*filler, *UNCHANGED], total=total)
    assert refresh.models()["glm-5.2"]["default_reasoning_effort"] == "high"
    queries = [parse_qs(request.target.partition("?")[2]) for request in refresh.server.requests]
    pages = ["1", "2"] if total else ["1", "2", "3"]
    assert queries == [{"page_size": ["1000"], "page": [page]} for page in pages]
    for request in refresh.server.requests:
        assert request.path == PATH
        assert not {"authorization", "x-auth-token"} & request.headers.keys()


def test_a_server_that_gives_smaller_pages_than_asked_is_read_to_its_total(refresh: Refresh) -> None:
    refresh.with_rows(UNCHANGED, per_page=2)
    assert len(refresh.server.requests) == 3
    assert refresh.models()["glm-5.2"]["price"]["output"] == 5.5


def test_rows_that_say_less_or_other_things_change_nothing(refresh: Refresh) -> None:
    retired = {"product": "old-1", "product_category": "Generative APIs", "status": "retired"}
    odd = row("glm-5.2", "input_token", 9, status="a_word_of_tomorrow", tasks=None)
    odd["price"]["retail_price"]["currency_code"] = "USD"
    audio = row("glm-5.2", "input_token", 9, **GLM)
    audio["unit_of_measure"] = {"unit": "second", "size": 60}
    refresh.with_rows(
        [retired, odd, audio, {"product_category": "Generative APIs"}, "?", {**odd, "properties": None, "price": None}]
    )
    models = refresh.models()
    # The product catalogue confirms its end, so that is known as of today.
    assert models["old-1"] == {**KNOWN["models"]["old-1"], "as_of": json.loads(refresh.file.read_text())["feed_as_of"]}
    assert models["glm-5.2"]["price"] == KNOWN["models"]["glm-5.2"]["price"]
    assert models["glm-5.2"]["status"] == "preview"


def test_a_dry_run_reports_and_writes_nothing(refresh: Refresh) -> None:
    before = refresh.file.read_bytes()
    said = refresh.with_rows([*UNCHANGED, row("new-chat", "input_token", 1)], "--dry-run")
    assert "added    new-chat" in said
    assert "nothing was written" in said
    assert refresh.file.read_bytes() == before


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (http(503, b"busy"), "HTTP 503"),
        (http(200, b"<html>"), "did not answer with JSON"),
        (http(200, b'{"products": [], "total_count": 0}'), "no row of the Generative APIs"),
        (http(200, b'{"total_count": 5}'), "holds no list of products"),
        (http(200, b"[]"), "holds no list of products"),
    ],
)
def test_what_cannot_be_used_leaves_the_file_alone(refresh: Refresh, script: bytes, said: str) -> None:
    before = refresh.file.read_bytes()
    refresh.server.always(script)
    done = refresh()
    assert done.returncode == 1
    assert said in done.stderr
    assert "catalog_scaleway.json is unchanged" in done.stderr
    assert refresh.file.read_bytes() == before


def test_offline_it_says_so_and_fails(refresh: Refresh) -> None:
    with LoopbackServer() as gone:
        url = gone.url
    before = refresh.file.read_bytes()
    done = refresh(url=f"{url}{PATH}")
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert refresh.file.read_bytes() == before
