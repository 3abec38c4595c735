"""A role-play of 12 lines and a manual chat of 8 questions on any model, driven in Chromium, for people to look at.

    python -m tests.apps.walk --model MODEL [--language en|zh] [--out FOLDER]

MODEL is what ``--model`` of egosrag takes: a folder, a GGUF file, a name. FOLDER (``docs/images/walk``, or ``walk.zh``)
gets pictures of both chats on a desk and on a phone, and ``README.md`` with every line and answer, how long each took,
and what a person would check first. The exit status is 1 where a line has no reply. With a model of 1.5 billion
parameters it takes ten minutes or so on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from egosrag import assemble
from egosrag.models.catalogue import resolve
from tests.apps import browser
from tests.apps.browser import find, server, until
from tests.apps.screenshots import ROOT, picture_of
from tests.apps.use import Use

OUT = {"en": ROOT / "docs" / "images" / "walk", "zh": ROOT / "docs" / "images" / "walk.zh"}
REPLY_S = 1200  # the longest wait for a reply
QUESTIONS = (1, 4, 26, 50, 23, 51, 33, 56)  # of the sample manual: direct ones, follow-ups, other words, not answered


class Walk(NamedTuple):
    """What is said in a language: to which role, of which manual; and words of the pages."""

    role: str
    greeting: str
    manual: str
    questions: str
    lines: tuple[str, ...]


WALKS = {
    "en": Walk(
        "edda",
        "Wipe your feet, sailor.",
        "manual.en.pdf",
        "manual.en.questions.json",
        (
            "Good evening. I came by boat, and one of my oars broke in the storm.",
            "Who are you, and what do you do here?",
            "My name is Jonas. I carry letters.",
            "Are you not afraid, alone out here?",
            "What do you cook for somebody as wet as I am?",
            "Tell me about the worst night that you had at sea.",
            "Who is Biscuit?",
            "I must be in town by Friday. Can you help me with the oar?",
            "Look it up on your phone, please.",
            "Do you remember my name, and what broke?",
            "What should I be careful of when I row back in the fog?",
            "Then good night, Edda. What will you write in your book about today?",
        ),
    ),
    "zh": Walk(
        "gu",
        "进来吧，小友",
        "manual.zh.pdf",
        "manual.zh.questions.json",
        (
            "您好。我的怀表昨晚掉进河里，停在三点。",
            "您是谁，在这里做什么？",
            "我叫陈安，是送信的。",
            "您一个人守着这么多钟，不闷吗？",
            "您是怎么学会修钟的？",
            "给我讲讲您在铁路上的日子吧。",
            "您最怕什么？",
            "我星期五要赶火车，表能修好吗？",
            "您用手机查一下吧。",
            "您还记得我叫什么，我的表停在几点吗？",
            "以后我该怎么保养这只表？",
            "那我先走了。要是有人问起我，您会怎么说？",
        ),
    ),
}


class Said(NamedTuple):
    """A line or question, what came back, how long that took, and what is to be noted about it."""

    line: str
    reply: str
    seconds: float
    notes: tuple[str, ...] = ()


def main(arguments: Sequence[str]) -> int:
    """Walk, and write what was seen. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.apps.walk", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--language", choices=list(WALKS), default="en")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    options.out = options.out or OUT[options.language]
    options.out.mkdir(parents=True, exist_ok=True)
    for old in options.out.glob("*.png"):
        old.unlink()
    browser.TIMEOUT_S = REPLY_S
    model = resolve(options.model)
    model = str(Path(model).resolve()) if Path(model).exists() else model
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), EGOSRAG_MODEL=model) as address,
        browser.browser(Path(folder), height=1040, language=options.language) as driver,
    ):
        use, walk = Use(driver, address), WALKS[options.language]
        talk = _talk(use, walk, options.out)
        answers = _ask(use, walk, options.out)
    (options.out / "README.md").write_text(_report(options, talk, answers), encoding="utf-8")
    print(f"{options.out}: {len(talk)} lines, {len(answers)} questions", file=sys.stderr)
    return 0 if all(said.reply for said in (*talk, *answers)) else 1


def _talk(use: Use, walk: Walk, out: Path) -> list[Said]:
    use.open("", walk.greeting)
    use.meet(walk.role, walk.greeting)
    said: list[Said] = []
    for number, line in enumerate(walk.lines, 1):
        reply, seconds = _said(use, line, 1 + 2 * number)
        notes = ("repeats an earlier reply",) if reply in {one.reply for one in said} else ()
        said.append(Said(line, reply, seconds, notes))
        if number % 4 == 0:
            _picture(use, out / f"roleplay-{number:02}.png")
    _phone_picture(use, out / "roleplay-phone.png")
    return said


def _ask(use: Use, walk: Walk, out: Path) -> list[Said]:
    rows = json.loads(assemble.sample(walk.questions).read_text(encoding="utf-8"))
    use.open("manual", walk.manual)
    said: list[Said] = []
    for number, row in enumerate((rows[n] for n in QUESTIONS), 1):
        answer, seconds = _said(use, row["question"], 2 * number)
        last = use.driver.find_elements("css selector", '[data-testid="stChatMessage"]')[-1]
        chips = [chip.text for chip in last.find_elements("css selector", ".cite")]
        said.append(Said(row["question"], answer, seconds, _checks(row, answer, chips)))
        if number % 4 == 0:
            _open_page(use)
            _picture(use, out / f"manual-{number:02}.png")
            use.click("close-beside") if use.has(".st-key-beside") else None
    _open_page(use)
    _phone_picture(use, out / "manual-phone.png")
    return said


def _said(use: Use, line: str, count: int) -> tuple[str, float]:
    """Say a line, and wait until there are ``count`` messages. Returns the last one, and the seconds that it took."""
    start = time.monotonic()
    use.say(line)
    until(lambda: len(use.messages()) >= count or use.has(".st-key-send-again, .st-key-ask-again"))
    if use.has(".st-key-send-again, .st-key-ask-again"):
        return "", time.monotonic() - start
    messages = use.wait_for_messages(count)
    print(f"{line} -> {messages[-1]}", file=sys.stderr)
    return messages[-1], time.monotonic() - start


def _checks(row: dict[str, Any], answer: str, chips: Sequence[str]) -> tuple[str, ...]:
    """What is right of an answer: the words that are expected in it, and the page that it cites."""
    if "reference" not in row:
        return ("not in the manual", "cites a page" if chips else "refused")
    pages = [row["reference"]] if isinstance(row["reference"], str) else row["reference"]
    numbers = [page.removeprefix("page_") for page in pages]
    right = any(
        number in "".join(c if c.isdigit() else " " for c in chip).split() for chip in chips for number in numbers
    )
    has_words = row["answer"].casefold() in answer.casefold()
    return (
        f"“{row['answer']}” {'✓' if has_words else '✗'}",
        f"page {' or '.join(numbers)} {'✓' if right else '✗'}",
    )


def _open_page(use: Use) -> None:
    """Open the page of the last citation beside the answer."""
    use.settle()
    if chips := use.driver.find_elements("css selector", ".cite"):
        use.driver.execute_script("arguments[0].click()", chips[-1])
        find(use.driver, '.st-key-beside [data-testid="stImage"] img')
        use.settle()


def _picture(use: Use, file: Path) -> None:
    use.settle()
    time.sleep(1)  # what moves has come to rest
    picture_of(use.driver).save(file, optimize=True)


def _phone_picture(use: Use, file: Path) -> None:
    size = use.driver.get_window_size()
    use.driver.set_window_size(500, 960)  # Chromium's narrowest window
    _picture(use, file)
    use.driver.set_window_size(size["width"], size["height"])
    use.settle()


def _report(options: argparse.Namespace, talk: Sequence[Said], answers: Sequence[Said]) -> str:
    name = Path(options.model).name
    command = f"python -m tests.apps.walk --model {name} --language {options.language}"
    lines = [f"# {name}: a role-play and a manual chat", "", f"Made by `{command}`; nothing is edited.", ""]
    for title, prefix, rows in (("Role-play", "roleplay", talk), ("Questions to the sample manual", "manual", answers)):
        lines += [f"## {title}", ""]
        lines += [f"![{file.stem}]({file.name})" for file in sorted(options.out.glob(f"{prefix}-*.png"))]
        for number, said in enumerate(rows, 1):
            notes = "; ".join((f"{said.seconds:.0f} s", *said.notes))
            reply = " ".join(said.reply.split()) or "(no reply)"
            lines += ["", f"{number}. **{said.line}** {reply} *({notes})*"]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
