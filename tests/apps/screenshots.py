"""The pictures of the pages in docs/images: python -m tests.apps.screenshots [PAGE...]

They are taken from a real server with the embedded model, in a real Chromium. ``stamp.json`` beside them holds a hash
of what each page is made of; a test compares it, so that no picture shows an older page.
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
MOST_BYTES = 150_000
COLOURS = 128  # of a picture: the pages are calm


def pages() -> list[str]:
    """The names of the pages, as their files are called."""
    words = yaml.safe_load((APPS / "parts" / "words" / "en.yaml").read_text(encoding="utf-8"))
    return [name for name in words["pages"] if (APPS / f"{name}.py").is_file()]


def stamp(page: str) -> str:
    """A hash of what a picture of the page shows: its file and parts, the frame, the theme and its English words."""
    words = yaml.safe_load((APPS / "parts" / "words" / "en.yaml").read_text(encoding="utf-8"))
    shown = json.dumps([words["pages"], words["shared"], words.get(page)], sort_keys=True)
    own = APPS / f"{page}.py"
    used = re.findall(r"^from apps\.parts\.(\w+) import", own.read_text(encoding="utf-8"), re.MULTILINE)
    parts = [APPS / "parts" / f"{name}.py" for name in sorted({"frame", *used})]
    files = (own, APPS / "main.py", APPS / ".streamlit" / "config.toml", *parts)
    return sha256(b"\0".join([shown.encode(), *(file.read_bytes() for file in files)])).hexdigest()[:16]


def _until_shown(driver: Any, xpath: str) -> Any:
    return until(lambda: driver.find_elements("xpath", xpath))[0]


def _click(driver: Any, xpath: str) -> None:
    driver.execute_script("arguments[0].click()", _until_shown(driver, xpath))


def _say(driver: Any, line: str) -> None:
    _settled(driver)
    type_in(driver, '[data-testid="stChatInput"] textarea', line + "\n")


def _settled(driver: Any) -> None:
    """Waits until the page is made, with all of its charts and tables."""
    made = '[data-testid="stApp"][data-test-script-state="notRunning"]'
    waits = '[data-testid="stSkeleton"]'
    until(
        lambda: (
            driver.find_elements("css selector", made)
            and not driver.find_elements("css selector", waits)
            and "is loading" not in text_of(driver)
        )
    )


MESSAGE = "//*[@data-testid='stChatMessage']"


def _talk(driver: Any) -> None:
    _click(driver, "//label[contains(., 'What the model saw')]//input")
    _say(driver, "Who are you?")
    _until_shown(driver, f"({MESSAGE})[3]//button[contains(., 'refresh')]")
    _say(driver, "What are you afraid of?")
    _until_shown(driver, f"({MESSAGE})[5]//button[contains(., 'refresh')]")


def _compare(driver: Any) -> None:
    _say(driver, "Who are you?")
    until(lambda: text_of(driver).count("in the reply") == 2)


def _ask(driver: Any) -> None:
    _say(driver, "Which battery does the key need?")
    _click(driver, "//button[contains(., 'find_in_page')]")
    _until_shown(driver, "//*[@data-testid='stImage']//img")


def _chart(driver: Any) -> None:
    _until_shown(driver, "//*[@data-testid='stVegaLiteChart']//*[name()='canvas' or name()='svg']")


STEPS: Mapping[str, Callable[[Any], None]] = {
    "roleplay": _talk,
    "compare": _compare,
    "manual": _ask,
    "results": _chart,
    "training": _chart,
}


def _runs(folder: Path) -> Path:
    """Real runs in miniature: the embedded model asked of the sample manual, and a tiny model trained."""
    from tests.finetune.conftest import alpaca, write_jsonl
    from tests.tiny import make_tiny_qwen

    runs, model = folder / "runs", folder / "tiny"
    for made in (runs, model):
        made.mkdir()
    make_tiny_qwen(model)
    rows = write_jsonl(folder / "rows.jsonl", alpaca(40))
    with (runs / "rag.json").open("w", encoding="utf-8") as result:
        _python("evals.rag", {"limit": 2, "records": runs / "rag.jsonl"}, "--json", stdout=result)
    for name, rate in {"sft": 1e-3, "sft_l": 3e-3}.items():
        small = {"precision": "fp32", "max_steps": 60, "batch_size": 4, "log_steps": 2, "save_steps": 20}
        asked = {"model": model, "data": rows, "out": runs / name, "lr": rate, "sample_prompts": "Count to three."}
        _python("finetune.sft", small | asked)
    return runs


def _python(module: str, options: Mapping[str, Any], *flags: str, stdout: Any = None) -> None:
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    subprocess.run([sys.executable, "-m", module, *words, *flags], stdout=stdout, check=True, cwd=ROOT)


def _taken(driver: Any) -> Any:
    from PIL import Image

    picture = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    return picture.quantize(COLOURS, dither=Image.Dither.NONE)


def main(chosen: list[str]) -> None:
    """Take the pictures of the chosen pages, or of all."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    stamps = json.loads(STAMP.read_text(encoding="utf-8")) if STAMP.is_file() else {}
    with tempfile.TemporaryDirectory() as kept:
        folder, first = Path(kept), pages()[0]
        runs = {"EGOSRAG_APP_RUNS": str(_runs(folder))}
        with server(folder, **runs) as address, browser(folder, width=1200, height=940) as driver:
            for page in chosen or pages():
                driver.get(address if page == first else f"{address}/{page}")
                until(lambda: driver.find_elements("css selector", '[data-testid="stSidebar"]'))
                STEPS.get(page, _settled)(driver)
                _settled(driver)
                file = IMAGES / f"{page}.png"
                _taken(driver).save(file, optimize=True)
                stamps[page] = stamp(page)
                print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes", file=sys.stderr)
    known = {page: stamps[page] for page in sorted(stamps) if page in pages()}
    STAMP.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
