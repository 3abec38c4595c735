"""The screenshots of the pages in docs/images: python -m tests.apps.screenshots [PAGE...]

They are taken from a real server with the embedded model, in a real Chromium. ``stamp.json`` beside them holds a hash
of each page's source files; a test compares it, so that no screenshot is of an older page.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from tests.apps.browser import browser, server, text_of, type_in, until

ROOT = Path(__file__).resolve().parents[2]
APPS, IMAGES = ROOT / "apps", ROOT / "docs" / "images"
STAMP = IMAGES / "stamp.json"
MAX_BYTES = 150_000
COLOURS = 128  # in the palette of a PNG; the pages use few


def pages() -> list[str]:
    """The names of the pages, which are the names of their files."""
    return list(_texts()["pages"])


def stamp(page: str) -> str:
    """A hash of what decides how a page looks: its file and parts, the sidebar, the theme and its English texts."""
    texts = _texts()
    shown = json.dumps([texts["pages"], texts["shared"], texts.get(page)], sort_keys=True)
    own = APPS / f"{page}.py"
    used = re.findall(r"^from apps\.parts\.(\w+) import", own.read_text(encoding="utf-8"), re.MULTILINE)
    parts = [APPS / "parts" / f"{name}.py" for name in sorted({"display", "sidebar", *used})]
    files = (own, APPS / "main.py", APPS / "parts" / "style.css", APPS / ".streamlit" / "config.toml", *parts)
    return sha256(b"\0".join([shown.encode(), *(file.read_bytes() for file in files)])).hexdigest()[:16]


def _texts() -> dict[str, dict[str, str]]:
    texts: dict[str, dict[str, str]] = yaml.safe_load(
        (APPS / "parts" / "locales" / "en.yaml").read_text(encoding="utf-8")
    )
    return texts


def _until_shown(driver: Any, xpath: str) -> Any:
    return until(lambda: driver.find_elements("xpath", xpath))[0]


def _click(driver: Any, xpath: str) -> None:
    driver.execute_script("arguments[0].click()", _until_shown(driver, xpath))


def _send(driver: Any, message: str) -> None:
    _wait_until_settled(driver)
    type_in(driver, '[data-testid="stChatInput"] textarea', message + "\n")


def _wait_until_settled(driver: Any) -> None:
    """Wait until the page's script has ended and all charts and tables are drawn."""
    done = '[data-testid="stApp"][data-test-script-state="notRunning"]'
    skeleton = '[data-testid="stSkeleton"]'
    until(
        lambda: (
            driver.find_elements("css selector", done)
            and not driver.find_elements("css selector", skeleton)
            and "Loading " not in text_of(driver)
        )
    )


MESSAGE = "//*[@data-testid='stChatMessage']"


def _chat(driver: Any) -> None:
    _click(driver, "//*[contains(@class, 'st-key-talk-edda')]//button")
    _send(driver, "Who are you?")
    _until_shown(driver, f"({MESSAGE})[3]//button[contains(., 'refresh')]")
    _send(driver, "What are you afraid of?")
    _until_shown(driver, f"({MESSAGE})[5]//button[contains(., 'refresh')]")
    _click(driver, "//label[contains(., 'What the model saw')]//input")
    _until_shown(driver, "//*[contains(@class, 'st-key-beside')]")


def _compare(driver: Any) -> None:
    _send(driver, "Who are you?")
    until(lambda: text_of(driver).count("Reply: ") == 2)


def _ask_manual(driver: Any) -> None:
    _send(driver, "Which battery does the key need?")
    _click(driver, "//button[contains(@class, 'cite')]")
    _until_shown(driver, "//*[@data-testid='stImage']//img")


def _wait_for_chart(driver: Any) -> None:
    _until_shown(driver, "//*[@data-testid='stVegaLiteChart']//*[name()='canvas' or name()='svg']")


STEPS: Mapping[str, Callable[[Any], None]] = {
    "roleplay": _chat,
    "compare": _compare,
    "manual": _ask_manual,
    "results": _wait_for_chart,
    "training": _wait_for_chart,
}


def _runs(folder: Path) -> Path:
    """Small real runs: an evaluation of the embedded model on the sample manual, and two trainings of a tiny model."""
    from tests.finetune.conftest import alpaca, write_jsonl
    from tests.tiny import make_tiny_qwen

    runs, model = folder / "runs", folder / "tiny"
    for new in (runs, model):
        new.mkdir()
    make_tiny_qwen(model)
    rows = write_jsonl(folder / "rows.jsonl", alpaca(40))
    with (runs / "rag.json").open("w", encoding="utf-8") as result:
        _python("evals.rag", {"limit": 2, "records": runs / "rag.jsonl"}, "--json", stdout=result)
    for name, rate in {"sft": 1e-3, "sft_l": 3e-3}.items():
        small = {"precision": "fp32", "max_steps": 30, "batch_size": 4, "log_steps": 2, "save_steps": 10}
        task = {"model": model, "data": rows, "out": runs / name, "lr": rate, "sample_prompts": "Count to three."}
        _python("finetune.sft", small | task)
    return runs


def _python(module: str, options: Mapping[str, Any], *flags: str, stdout: Any = None) -> None:
    arguments = [argument for key, value in options.items() for argument in (f"--{key}", str(value))]
    subprocess.run([sys.executable, "-m", module, *arguments, *flags], stdout=stdout, check=True, cwd=ROOT)


def picture_of(driver: Any) -> Any:
    """The window as a small picture."""
    from PIL import Image

    picture = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    return picture.quantize(COLOURS, dither=Image.Dither.NONE)


def main(chosen: list[str]) -> None:
    """Take the screenshots of the chosen pages, or of all."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    stamps = json.loads(STAMP.read_text(encoding="utf-8")) if STAMP.is_file() else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder, first = Path(temporary), pages()[0]
        needs_runs = not chosen or {"results", "training"} & set(chosen)
        runs = {"EGOSRAG_APP_RUNS": str(_runs(folder))} if needs_runs else {}
        with server(folder, **runs) as address, browser(folder, width=1200, height=940) as driver:
            for page in chosen or pages():
                driver.get(address if page == first else f"{address}/{page}")
                until(lambda: driver.find_elements("css selector", '[data-testid="stSidebar"]'))
                STEPS.get(page, _wait_until_settled)(driver)
                _wait_until_settled(driver)
                file = IMAGES / f"{page}.png"
                picture_of(driver).save(file, optimize=True)
                stamps[page] = stamp(page)
                print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes", file=sys.stderr)
    current = {page: stamps[page] for page in sorted(stamps) if page in pages()}
    STAMP.write_text(json.dumps(current, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
