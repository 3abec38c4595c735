"""A server of the web app and a headless Chromium, for tests and for the screenshots in the docs."""

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
from urllib.parse import urlsplit

APP = Path(__file__).resolve().parents[2] / "apps" / "app.py"
TIMEOUT_S = 120  # generous, for a busy machine


def missing() -> str:
    """Why no browser can be used here; empty where one can."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed: pip install -e '.[dev]'"
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    install = "apt-get install chromium chromium-driver, or what your system calls them"
    return f"{' and '.join(absent)} not found: {install}" if absent else ""


@contextmanager
def server(folder: Path, *, port: int | None = None, **environment: str) -> Iterator[str]:
    """Start the web app with its data in ``folder``, and give its address."""
    port = port or free_port()
    folders = {"EGOSRAG_DATA_DIR": str(folder / "data"), "EGOSRAG_CACHE_DIR": str(folder / "cache")}
    folders["STREAMLIT_RUNNER_POST_SCRIPT_GC"] = "false"  # or each run of a page ends with 0.3 s of garbage collection
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port)]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **folders, **environment},
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _is_healthy(f"{address}/_stcore/health") or process.poll() is not None)
        assert process.poll() is None, (folder / "server.log").read_text(encoding="utf-8")
        yield address
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def browser(folder: Path, *, width: int = 1200, height: int = 900, language: str = "en-US") -> Iterator[Any]:
    """A Chromium with its own profile in ``folder``, which makes it a visitor of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}", f"--lang={language}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    options.set_capability("unhandledPromptBehavior", "ignore")  # so that an alert of a script stays and fails the test
    options.binary_location = str(shutil.which("chromium"))
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    driver.set_page_load_timeout(TIMEOUT_S)
    try:
        yield driver
    finally:
        driver.quit()


def requested_urls(driver: Any) -> list[str]:
    """The URLs that the page requested since the last call, and messages of requests that the policy blocked."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = ("Network.requestWillBeSent", "Network.webSocketCreated")
    urls = [m["params"].get("request", m["params"])["url"] for m in messages if m["method"] in sent]
    logged = [entry["message"] for entry in driver.get_log("browser")]
    blocked = [f"blocked: {message}" for message in logged if "Content Security Policy" in message]
    return [*urls, *blocked]


def text_of(driver: Any) -> str:
    """The visible text of the page."""
    return str(driver.execute_script("return document.body.innerText"))


def type_in(driver: Any, css: str, text: str) -> None:
    """Type into a field as soon as it is enabled."""
    ready = "return [...document.querySelectorAll(arguments[0])].find(e => !e.disabled && e.offsetParent !== null)"
    until(lambda: driver.execute_script(ready, css)).send_keys(text)


def until(condition: Callable[[], Any], state: Callable[[], str] = lambda: "") -> Any:
    """Wait until ``condition`` is true, and return its value; ``state`` says after a time out what there is instead."""
    end = time.monotonic() + TIMEOUT_S
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"timed out: {state()}"
        time.sleep(0.1)


def find(driver: Any, css: str) -> Any:
    return until(lambda: driver.find_elements("css selector", css))[0]


def choose_files(driver: Any, *paths: Path) -> None:
    """Choose documents to ask about; again where the page is drawn anew at that moment, and drops them."""
    uploader = '[data-testid="stFileUploader"]'

    def shown() -> int:
        return len(driver.find_elements("css selector", f'{uploader} [data-testid="stFileChip"]'))

    def chosen() -> bool:
        before, end = shown(), time.monotonic() + 5
        find(driver, f'{uploader} input[type="file"]').send_keys("\n".join(map(str, paths)))
        while time.monotonic() < end:
            if shown() > before:
                return True
            time.sleep(0.1)
        return False

    until(chosen)


def wait_for_texts(driver: Any, *texts: str) -> None:
    until(lambda: all(text in text_of(driver) for text in texts), lambda: text_of(driver)[-2000:])


def press(driver: Any, name: str) -> None:
    """Click the button with this label or icon."""
    xpath = f"//button[normalize-space()='{name}' and not(@disabled)]"
    script = "const e = document.evaluate(arguments[0], document, null, 9).singleNodeValue; e?.click(); return !!e"
    until(lambda: driver.execute_script(script, xpath))


def click(driver: Any, css: str) -> None:
    """Click an element as soon as it is there; in one step, as the page may be drawn anew at any moment."""
    script = "const e = document.querySelector(arguments[0]); e?.click(); return !!e"
    until(lambda: driver.execute_script(script, css))


def requests_to_other_hosts(driver: Any) -> list[str]:
    """The requested URLs of other hosts. (A page of an earlier test may still call its server on this host.)"""
    local = ("data", "blob", "about", "chrome", "chrome-untrusted")
    urls = [(address, urlsplit(address)) for address in requested_urls(driver)]
    return [address for address, url in urls if url.scheme not in local and url.hostname != "127.0.0.1"]


def free_port() -> int:
    """A port that is not in use."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def script(folder: Path, *responses: str) -> Mapping[str, str]:
    """The environment of a server with a scripted model that gives these responses."""
    path = folder / "script.json"
    path.write_text(json.dumps(responses), encoding="utf-8")
    return {"EGOSRAG_MODEL": f"scripted:{path}"}


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
