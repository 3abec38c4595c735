"""A server of the pages and a real browser that looks at them, for tests and for the pictures in the docs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

APP = Path(__file__).resolve().parents[2] / "apps" / "app.py"
WAIT_S = 120  # on a machine that has much else to do


def missing() -> str:
    """Why no browser can be driven here; empty where one can."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed: pip install -e '.[dev]'"
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    install = "apt-get install chromium chromium-driver, or what your system calls them"
    return f"{' and '.join(absent)} not found: {install}" if absent else ""


@contextmanager
def server(folder: Path, *, port: int | None = None, **environment: str) -> Iterator[str]:
    """The address of the pages, which keep what they keep in ``folder``."""
    port = port or free_port()
    kept = {"EGOSRAG_DATA_DIR": str(folder / "data"), "EGOSRAG_CACHE_DIR": str(folder / "cache")}
    words = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port)]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            words, env={**os.environ, **kept, **environment}, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(f"{address}/_stcore/health") or process.poll() is not None)
        assert process.poll() is None, (folder / "server.log").read_text(encoding="utf-8")
        yield address
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def browser(folder: Path, *, width: int = 1200, height: int = 900, language: str = "en-US") -> Iterator[Any]:
    """A Chromium with a profile of its own in ``folder``, so that it is a visitor of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for word in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}", f"--lang={language}",
    ):  # fmt: skip
        options.add_argument(word)
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    options.set_capability("unhandledPromptBehavior", "ignore")  # an alert of a script would stay and be found
    options.binary_location = str(shutil.which("chromium"))
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    driver.set_page_load_timeout(WAIT_S)
    try:
        yield driver
    finally:
        driver.quit()


def asked_for(driver: Any) -> list[str]:
    """The addresses that the page asked for since the last call, and those that the browser did not let it ask for."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = ("Network.requestWillBeSent", "Network.webSocketCreated")
    found = [m["params"].get("request", m["params"])["url"] for m in messages if m["method"] in sent]
    told = [entry["message"] for entry in driver.get_log("browser")]
    refused = [f"refused: {message}" for message in told if "Content Security Policy" in message]
    return [*found, *refused]


def text_of(driver: Any) -> str:
    """What a person can read on the page."""
    return str(driver.execute_script("return document.body.innerText"))


def type_in(driver: Any, css: str, text: str) -> None:
    """Types into a field as soon as it takes anything."""
    ready = "return [...document.querySelectorAll(arguments[0])].find(e => !e.disabled && e.offsetParent !== null)"
    until(lambda: driver.execute_script(ready, css)).send_keys(text)


def until(true: Callable[[], Any]) -> Any:
    """What ``true`` gives as soon as it is true."""
    end = time.monotonic() + WAIT_S
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def script(folder: Path, *said: str) -> Mapping[str, str]:
    """The environment of a server whose model says so."""
    path = folder / "script.json"
    path.write_text(json.dumps(said), encoding="utf-8")
    return {"EGOSRAG_MODEL": f"scripted:{path}"}


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
