"""``egosrag demo``: manual QA and role-play on the samples, with the embedded model and without a network."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from egosrag.cli.options import Debug
from egosrag.console import Progress, Reporter

if TYPE_CHECKING:
    from egosrag.settings import Settings

EXAMPLES = ("egosrag demo", "egosrag demo --language zh")
# Token budget of a prompt: so few that Summarize has work to do within a short conversation.
PROMPT_TOKENS = 480


class Script(NamedTuple):
    """The texts of the demo in one language; the answers and replies are the model's."""

    manual: str
    source: str
    name: str
    role: str
    headings: tuple[str, str, str, str, str]
    answerable: str
    unanswerable: str
    card_labels: dict[str, str]
    lines: tuple[str, ...]
    summarized: str
    next_commands: tuple[str, ...]


SCRIPTS = {
    "en": Script(
        manual="manual.en.pdf",
        source="edda.en.html",
        name="Edda",
        role="edda.en.json",
        headings=(
            "1. Ask a car's manual a question",
            "2. Ask something that the manual does not answer",
            "3. Extract a role card from a web page about a lighthouse keeper",
            "4. Talk to her; the first turns are summarized, and she still knows when you meet",
            "5. Try next",
        ),
        answerable="Where is the release lever of the hood?",
        unanswerable="How do I open the sunroof?",
        card_labels={
            "background": "Background: ",
            "personality": "Personality: ",
            "speaking_style": "Speaking style: ",
            "relations": "Relations: ",
        },
        lines=(
            "Let us meet at the harbour at 8:15.",
            "What are you afraid of?",
            "How do you speak?",
            "Can you help me?",
            "Thank you.",
            "When do we meet?",
        ),
        summarized="Summarize has replaced the first turns by:",
        next_commands=(
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
            "1. 向汽车手册提问",
            "2. 问一个手册没有回答的问题",
            "3. 从介绍一位修钟匠的网页中提取角色卡",
            "4. 和他聊天：开头几轮对话被概括之后，他仍然记得你的名字",
            "5. 接下来可以试试",
        ),
        answerable="钥匙用的是什么型号的电池？",
        unanswerable="天窗怎么打开？",
        card_labels={
            "background": "背景：",
            "personality": "性格：",
            "speaking_style": "说话风格：",
            "relations": "关系：",
        },
        lines=("我叫林舟。", "你害怕什么？", "你怎么称呼别人？", "你能帮帮我吗？", "谢谢你。", "我叫什么名字？"),
        summarized="Summarize 已将开头几轮对话概括为：",
        next_commands=(
            'egosrag ask "车辆有几个安全气囊？" --doc egosrag/data/samples/manual.zh.pdf',
            "egosrag chat --role egosrag/data/samples/gu.zh.json",
            "egosrag chat --role egosrag/data/samples/gu.zh.json --model Qwen/Qwen2.5-0.5B-Instruct",
            "egosrag doctor",
        ),
    ),
}


def demo(
    language: Annotated[Literal["en", "zh"], typer.Option(help="Language of the samples.")] = "en",
    debug: Debug = False,
) -> None:
    """Show manual QA and role-play on samples, offline, in a minute."""
    import tempfile

    from egosrag.settings import Settings

    script = SCRIPTS[language]
    # All files that the demo writes are deleted when it ends.
    with tempfile.TemporaryDirectory(prefix="egosrag-demo-") as name, Progress() as progress:
        folder = Path(name)
        settings = Settings(
            prompt_tokens=PROMPT_TOKENS, keep_turns=2, memory="static", data_dir=folder, cache_dir=folder
        )
        _ask_manual(settings, script, progress)
        _extract_role(settings, script, folder, progress)
        _talk(settings, script, language)
    print(f"\n{script.headings[4]}\n")
    for command in script.next_commands:
        print(f"   {command}")


def _ask_manual(settings: Settings, script: Script, progress: Reporter) -> None:
    from egosrag import assemble

    manual = assemble.manual(settings, [assemble.sample(script.manual)], progress=progress)
    for heading, question in zip(script.headings[:2], (script.answerable, script.unanswerable), strict=True):
        answer = manual.ask(question)
        print(f"{heading}\n\n   {question}\n{textwrap.indent(answer.answer, '   ')}")
        for citation in answer.citations:
            print(textwrap.indent(f"{citation.source}, p. {citation.page}: {citation.quote}", " " * 5))
        print(flush=True)


def _extract_role(settings: Settings, script: Script, folder: Path, progress: Reporter) -> None:
    from egosrag import assemble

    source = assemble.sample(script.source)
    role = assemble.extract_role(settings, [source], script.name, folder / "role.json", progress)
    print(f"{script.headings[2]}\n")
    for field, label in script.card_labels.items():
        for statement in getattr(role, field):
            print(f"   {label}{statement.text}")
    print(flush=True)


def _talk(settings: Settings, script: Script, language: str) -> None:
    from egosrag import assemble
    from egosrag.prompts.render import USER, quoted

    print(f"{script.headings[3]}\n")
    printed = 0
    with assemble.conversation(settings, assemble.sample(script.role), "demo") as conversation:
        for line in script.lines:
            reply = conversation.say(line)
            print("   " + quoted(USER[language], line, language))
            print("   " + quoted(reply.speaker, reply.text, language), flush=True)
            scenes = conversation.scenes()
            if len(scenes) > printed:
                print(f"\n   {script.summarized}")
                for scene in scenes[printed:]:
                    print(f"     {scene.text}")
                print()
                printed = len(scenes)
