"""A real Chromium, without a window, as a person with a keyboard uses it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService

PROGRAMS = ("chromium", "chromedriver")


def look_for_chromium() -> tuple[str, str]:
    """Where the browser and its driver are; without them the test is skipped, or fails in CI."""
    found = [shutil.which(name) for name in PROGRAMS]
    if all(found):
        return str(found[0]), str(found[1])
    why = f"no {' and '.join(PROGRAMS)} on PATH (Debian: apt install chromium chromium-driver)"
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in the folder `profile`."""
    program, driver = look_for_chromium()
    options = ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--no-sandbox",  # there is none for root, nor inside most containers; our own page only
        "--disable-dev-shm-usage",
        "--force-prefers-reduced-motion",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(executable_path=driver))
    try:
        yield Browser(chrome)
    finally:
        chrome.quit()


class Browser:
    """One open page."""

    def __init__(self, chrome: Chrome) -> None:
        self.chrome = chrome

    def open(self, page: Path) -> None:
        self.requests()  # the log forgets what it has told
        self.chrome.get(page.absolute().as_uri())

    def requests(self) -> list[str]:
        """The URLs that were asked for since the last question."""
        messages = [json.loads(text)["message"] for text in self._log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """What the browser's console says of the page."""
        return self._log("browser")

    def _log(self, kind: str) -> list[str]:
        entries = self.chrome.get_log(kind)  # type: ignore[no-untyped-call]  # selenium's own gap
        return [str(entry["message"]) for entry in entries]

    def ask(self, script: str, *arguments: object) -> Any:
        """The value of a JavaScript expression."""
        return self.chrome.execute_script(f"return {script}", *arguments)

    def text(self, selector: str) -> str:
        return str(self.ask("document.querySelector(arguments[0]).innerText.trim()", selector))

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.chrome).send_keys(key).perform()

    def width(self, pixels: int) -> None:
        """A screen that is so wide, as a phone's."""
        metrics = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 600}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def media(self, medium: str = "", scheme: str = "light") -> None:
        """`screen` or `print`, `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.chrome.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": medium, "features": features}
        )
