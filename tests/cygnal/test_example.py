"""The example, run as a user runs it: without a key, and with one."""

from __future__ import annotations

from linkspan.conversation import ToolCall
from linkspan_sandbox import Reply, Rule, run
from tests.examples.test_examples import run_example

NOTHING = {"GRAYSWAN_API_KEY": "", "GRAY_SWAN_BASE_URL": "", "GRAYSWAN_API_BASE": "", "GRAYSWAN_POLICY_ID": ""}


def answers(printed: str) -> list[list[str]]:
    ways = ("unguarded", "data role", "guard")
    lines = printed.splitlines()
    return [[way, line.partition(way)[2].strip()] for line in lines for way in ways if line.startswith(f"  {way} ")]


def test_without_a_key_the_role_and_the_guard_stop_the_same_page() -> None:
    outcome = run_example("cygnal_guard", **NOTHING)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    stopped = [
        ["unguarded", "BOO"],
        ["data role", "It is 60 metres long."],
        ["guard", "I found nothing that I may read."],
    ]
    assert answers(outcome.stdout) == stopped * 2
    assert "[tool_results: replace, violation 0.97 (prompt injection), indirect prompt injection]" in outcome.stdout
    assert "[documents: replace, " in outcome.stdout


def test_with_a_key_it_asks_the_service() -> None:
    key = "the-key-of-the-user"
    call = Rule(
        Reply(tool_calls=[ToolCall(None, "fetch_page", '{"harbour": "Ostra"}')]),
        when=lambda call: bool(call.tools),
        role="user",
    )
    with run(api_key=key, rules=[call, Rule("So says the service.")]) as service:
        where = {"GRAY_SWAN_BASE_URL": service.gray_swan_url, "GRAYSWAN_API_KEY": key}
        outcome = run_example("cygnal_guard", **{**NOTHING, **where})
        paths = [request.path for request in service.requests]
    assert outcome.returncode == 0, outcome.stderr
    assert [answer for _, answer in answers(outcome.stdout)] == ["So says the service."] * 6
    assert sum(path.endswith("/cygnal/monitor") for path in paths) == 6
    assert key not in outcome.stdout
