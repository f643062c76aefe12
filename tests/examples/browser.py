"""A headless Chromium, driven by ChromeDriver over WebDriver's own HTTP (W3C), which needs no package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Set it to 1 to have the test fail, rather than be skipped, where the browser is missing.
REQUIRED_VARIABLE = "LINKSPAN_BROWSER_REQUIRED"
DRIVERS = ("chromedriver",)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--headless",
    # Tests may run as root, in a container.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    # Nothing leaves this machine.
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
#: Calls ``done`` as soon as the element's text contains the second argument.
_WAIT_FOR_TEXT = """
const [selector, text, done] = arguments;
const element = document.querySelector(selector);
const look = () => {
  if (!element.textContent.includes(text)) return;
  observer.disconnect();
  done(element.textContent);
};
const observer = new MutationObserver(look);
observer.observe(element, { childList: true, characterData: true, subtree: true });
look();
"""


def missing() -> str | None:
    """Say what this machine lacks."""
    lacking = [names[0] for names in (BROWSERS, DRIVERS) if _find(names) is None]
    return f"no {' and no '.join(lacking)} here (Debian: apt-get install chromium chromium-driver)" if lacking else None


def is_required() -> bool:
    """Whether a machine without a browser fails the test."""
    return os.environ.get(REQUIRED_VARIABLE) == "1"


def _find(names: tuple[str, ...]) -> str | None:
    return next((path for name in names if (path := shutil.which(name)) is not None), None)


class Browser:
    """One window."""

    def __init__(self, driver: httpx.Client, session: str) -> None:
        self._driver = driver
        self._session = session

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self._do("POST", "/url", url=url)

    def click(self, selector: str) -> None:
        """Click, as a person does."""
        (element,) = self._do("POST", "/element", using="css selector", value=selector).values()
        self._do("POST", f"/element/{element}/click")

    def text_with(self, selector: str, text: str) -> str:
        """Wait until an element's text contains some text, and return all of it."""
        found: str = self._do("POST", "/execute/async", script=_WAIT_FOR_TEXT, args=[selector, text])
        return found

    def close_tab(self) -> None:
        """Close the window."""
        self._do("DELETE", "/window")

    def _do(self, method: str, path: str, **body: Any) -> Any:
        return call(self._driver, method, f"/session/{self._session}{path}", **body)


def call(driver: httpx.Client, method: str, path: str, **body: Any) -> Any:
    """Send a command, and return its value."""
    answer = driver.request(method, path, json=body if method == "POST" else None)
    value = answer.json()["value"]
    assert answer.is_success, f"{method} {path}: {value['error']}: {value['message']}"
    return value


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile."""
    program, driver_program = _find(BROWSERS), _find(DRIVERS)
    assert program is not None, missing()
    assert driver_program is not None, missing()
    options = {"binary": program, "args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
    process = subprocess.Popen([driver_program, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = next(found[1] for line in process.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False, verify=False) as driver:
            wanted = {"alwaysMatch": {"goog:chromeOptions": options, "timeouts": {"script": 30_000}}}
            session = call(driver, "POST", "/session", capabilities=wanted)["sessionId"]
            try:
                yield Browser(driver, session)
            finally:
                # Ends the browser, which would outlive its driver.
                driver.delete(f"/session/{session}")
    finally:
        process.terminate()
        process.wait(timeout=60)


if __name__ == "__main__":
    if lack := missing():
        sys.exit(f"the browser test cannot run: {lack}")
