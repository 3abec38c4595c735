"""Both jobs on the samples, with the embedded model and without a network: what ``make demo`` shows."""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path
from typing import NamedTuple

from egosrag import assemble
from egosrag.console import Progress, Reporter
from egosrag.prompts.render import USER, quoted
from egosrag.settings import Settings

# So few tokens for a prompt that Summarize has work to do within a short conversation.
PROMPT_TOKENS = 480


class Script(NamedTuple):
    """What the demonstration asks in one language; the answers are the model's."""

    manual: str
    source: str
    name: str
    role: str
    headings: tuple[str, str, str, str, str]
    answered: str
    unanswered: str
    lines: tuple[str, ...]
    scenes: str
    tries: tuple[str, ...]


SCRIPTS = {
    "en": Script(
        manual="manual.en.pdf",
        source="edda.en.html",
        name="Edda",
        role="edda.en.json",
        headings=(
            "1. A question to the sample manual of a car",
            "2. A question that this manual does not answer",
            "3. A role card, extracted from a page about a lighthouse keeper",
            "4. A conversation; its first turns are summarized, and the meeting is still known",
            "5. Try next",
        ),
        answered="Where is the release lever of the hood?",
        unanswered="How do I open the sunroof?",
        lines=(
            "Let us meet at the harbour at 8:15.",
            "What are you afraid of?",
            "How do you speak?",
            "Can you help me?",
            "Thank you.",
            "When do we meet?",
        ),
        scenes="Summarize wrote, in place of the first turns:",
        tries=(
            'egosrag ask "How many airbags does the car have?" --doc egosrag/data/samples/manual.en.pdf',
            "egosrag chat --role egosrag/data/samples/edda.en.json",
            "egosrag chat --role egosrag/data/samples/edda.en.json --model Qwen/Qwen2.5-0.5B-Instruct",
            "egosrag doctor",
        ),
    ),
    "zh": Script(
        manual="manual.zh.pdf",
        source="gu.zh.html",
        name="顾青禾",
        role="gu.zh.json",
        headings=(
            "1. 向一本汽车样例手册提问",
            "2. 这本手册没有回答的问题",
            "3. 从一页修钟匠的介绍中提取角色卡",
            "4. 一段对话：开头几轮被概括之后，名字仍然记得",
            "5. 接下来可以试试",
        ),
        answered="钥匙用的是什么型号的电池？",
        unanswered="天窗怎么打开？",
        lines=("我叫林舟。", "你害怕什么？", "你怎么称呼别人？", "你能帮帮我吗？", "谢谢你。", "我叫什么名字？"),
        scenes="Summarize 写下的情景，代替开头几轮：",
        tries=(
            'egosrag ask "车辆有几个安全气囊？" --doc egosrag/data/samples/manual.zh.pdf',
            "egosrag chat --role egosrag/data/samples/gu.zh.json",
            "egosrag chat --role egosrag/data/samples/gu.zh.json --model Qwen/Qwen2.5-0.5B-Instruct",
            "egosrag doctor",
        ),
    ),
}


def run(language: str) -> None:
    """Print the demonstration in ``language``; all it writes is gone when it ends.

    Raises:
        EgosRagError: the embedded model or a sample cannot be used.
    """
    script = SCRIPTS[language]
    with tempfile.TemporaryDirectory(prefix="egosrag-demo-") as folder, Progress() as progress:
        place = Path(folder)
        settings = Settings(prompt_tokens=PROMPT_TOKENS, keep_turns=2, memory="static", data_dir=place, cache_dir=place)
        _questions(settings, script, progress)
        _role(settings, script, place, progress)
        _conversation(settings, script, language)
    print(f"\n{script.headings[4]}\n")
    for command in script.tries:
        print(f"   {command}")


def _questions(settings: Settings, script: Script, progress: Reporter) -> None:
    manual = assemble.manual(settings, [assemble.sample(script.manual)], progress=progress)
    for heading, question in zip(script.headings[:2], (script.answered, script.unanswered), strict=True):
        answer = manual.ask(question)
        print(f"{heading}\n\n   {question}\n{textwrap.indent(answer.answer, '   ')}")
        for citation in answer.citations:
            print(textwrap.indent(f"{citation.source}, p. {citation.page}: {citation.quote}", " " * 5))
        print(flush=True)


def _role(settings: Settings, script: Script, folder: Path, progress: Reporter) -> None:
    role = assemble.extract_role(
        settings, [assemble.sample(script.source)], script.name, folder / "role.json", progress
    )
    print(f"{script.headings[2]}\n")
    for field in ("background", "personality", "speaking_style", "relations"):
        for statement in getattr(role, field):
            print(f"   {field}: {statement.text}")
    print(flush=True)


def _conversation(settings: Settings, script: Script, language: str) -> None:
    print(f"{script.headings[3]}\n")
    told = 0
    with assemble.conversation(settings, assemble.sample(script.role), "demo") as conversation:
        for line in script.lines:
            reply = conversation.say(line)
            print("   " + quoted(USER[language], line, language))
            print("   " + quoted(reply.speaker, reply.text, language), flush=True)
            scenes = conversation.scenes()
            if len(scenes) > told:
                print(f"\n   {script.scenes}")
                for scene in scenes[told:]:
                    print(f"     {scene.text}")
                print()
                told = len(scenes)
