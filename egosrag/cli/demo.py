"""``egosrag demo``: manual QA and role-play on the samples: offline with the embedded model, or with a real one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from egosrag.cli.options import Debug, load_settings
from egosrag.console import Progress, Reporter
from egosrag.schema import Answer

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.schema import Reply
    from egosrag.sessions.conversation import Conversation
    from egosrag.settings import Settings

EXAMPLES = ("egosrag demo", "egosrag demo --language zh", "egosrag demo --model qwen2.5-1.5b")
# So many lines are said before the prompt gets a budget of what it has then and so many tokens more: with any model
# Summarize has work to do within a short conversation.
FREE_LINES, SPARE_TOKENS = 4, 30


class Script(NamedTuple):
    """The texts of the demo in one language; the answers and replies are the model's.

    ``recalled`` is the heading of the conversation where the model is known to recall, ``budgeted`` where it is not.
    """

    manual: str
    source: str
    name: str
    role: str
    headings: tuple[str, str, str]
    recalled: str
    budgeted: str
    answerable: str
    unanswerable: str
    card_labels: dict[str, str]
    lines: tuple[str, ...]
    summarized: str
    next: str
    next_commands: tuple[str, ...]
    real: str


SCRIPTS = {
    "en": Script(
        manual="sample:manual.en",
        source="sample:edda.en",
        name="Edda",
        role="edda.en",
        headings=(
            "1. Ask a car's manual a question",
            "2. Ask something that the manual does not answer",
            "3. Extract a role card from a web page about a lighthouse keeper",
        ),
        recalled="4. Talk to her; the first turns are summarized, and she still knows when you meet",
        budgeted="4. Talk to her; when the prompt's budget is spent, the first turns are summarized",
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
        next="5. Try next (roles are edda, juno, gu and luo; gu and luo speak Chinese)",
        next_commands=(
            'egosrag ask "How many airbags does the car have?" --doc sample:manual.en',
            "egosrag chat --role edda",
        ),
        real="This was pocket, a tiny model. A real one: "
        "egosrag models get qwen2.5-1.5b && egosrag demo --model qwen2.5-1.5b",
    ),
    "zh": Script(
        manual="sample:manual.zh",
        source="sample:gu.zh",
        name="顾青禾",
        role="gu.zh",
        headings=(
            "1. 向汽车手册提问",
            "2. 问一个手册没有回答的问题",
            "3. 从介绍一位修钟匠的网页中提取角色卡",
        ),
        recalled="4. 和他聊天：开头几轮对话被概括之后，他仍然记得你的名字",
        budgeted="4. 和他聊天：提示词的预算用完时，开头几轮对话会被概括",
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
        next="5. 接下来可以试试（角色有 gu、luo、edda 和 juno，后两个说英语）",
        next_commands=(
            'egosrag ask "车辆有几个安全气囊？" --doc sample:manual.zh',
            "egosrag chat --role gu",
        ),
        real="以上出自 pocket，一个很小的模型。换成真正的模型："
        "egosrag models get qwen2.5-1.5b && egosrag demo --model qwen2.5-1.5b",
    ),
}


def demo(
    language: Annotated[Literal["en", "zh"], typer.Option(help="Language of the samples.")] = "en",
    model: Annotated[
        str | None, typer.Option(help="A model as for chat, such as a name of egosrag models.", show_default="pocket")
    ] = None,
    debug: Debug = False,
) -> None:
    """Show manual QA and role-play on samples, in a minute; offline unless you choose a model elsewhere."""
    import tempfile

    from egosrag import assemble
    from egosrag.settings import Settings

    script = SCRIPTS[language]
    settings = load_settings(None, model=model) if model else Settings()
    chat = assemble.chat_model(settings)
    # All files that the demo writes are deleted when it ends.
    with tempfile.TemporaryDirectory(prefix="egosrag-demo-") as name:
        own = {"data_dir": Path(name), "cache_dir": Path(name), "store": None}
        settings = settings.model_copy(update={**own, "keep_turns": 2, "memory": "static"})
        _ask_manual(settings, chat, script)
        _extract_role(chat, script)
        print(f"{script.budgeted if model else script.recalled}\n")
        _talk(settings, chat, script, language)
    print(f"\n{script.next}\n")
    for command in script.next_commands:
        print(f"   {command} --model {model}" if model else f"   {command}")
    print("   egosrag doctor")
    if not model:
        print(f"\n{script.real}")


def _ask_manual(settings: Settings, chat: BaseChatModel, script: Script) -> None:
    from egosrag import assemble

    with Progress() as progress:
        manual = assemble.manual(settings, [script.manual], progress=progress, model=chat)
    for heading, question in zip(script.headings[:2], (script.answerable, script.unanswerable), strict=True):
        print(f"{heading}\n\n   {question}\n   ", end="", flush=True)
        for piece in manual.stream(question):
            if isinstance(piece, str):
                print(_indented(piece, 3), end="", flush=True)
            elif isinstance(piece, Answer):
                cited = (f"{citation.source}, p. {citation.page}: {citation.quote}" for citation in piece.citations)
                print("", *(f"     {_indented(citation, 5)}" for citation in cited), "", sep="\n", flush=True)


def _extract_role(chat: BaseChatModel, script: Script) -> None:
    from egosrag import assemble
    from egosrag.rag.documents.load import read_text

    with Progress() as progress:
        sources = [(script.source, read_text(script.source))]
        role = assemble.extract_step(chat, progress).invoke((sources, script.name))
    print(f"{script.headings[2]}\n")
    for field, label in script.card_labels.items():
        for statement in getattr(role, field):
            print(f"   {label}{statement.text}")
    print(flush=True)


def _talk(settings: Settings, chat: BaseChatModel, script: Script, language: str) -> None:
    """The conversation, first without a budget for its prompts and then with a small one."""
    from egosrag import assemble

    with assemble.conversation(settings, script.role, "demo", chat) as conversation:
        for line in script.lines[:FREE_LINES]:
            usage = _say(conversation, line, language).usage
    budget = usage.prompt_tokens + usage.completion_tokens + SPARE_TOKENS
    settings = settings.model_copy(update={"prompt_tokens": budget})
    with assemble.conversation(settings, script.role, "demo", chat, progress=Reporter()) as conversation:
        printed = 0
        for line in script.lines[FREE_LINES:]:
            scenes = [f"     {scene.text}" for scene in conversation.scenes()]
            if len(scenes) > printed:
                print("", f"   {script.summarized}", *scenes[printed:], "", sep="\n")
                printed = len(scenes)
            _say(conversation, line, language)


def _say(conversation: Conversation, line: str, language: str) -> Reply:
    """Say a line; print it and the reply, as it is generated."""
    from egosrag.prompts.render import MARKS, USER, quoted, speech_prefix

    print("   " + quoted(USER[language], line, language))
    print("   " + speech_prefix(conversation.role.name, language), end="", flush=True)
    for piece in conversation.stream(line):
        if not isinstance(piece, str):
            print(MARKS[language][1], flush=True)
            return piece
        print(piece, end="", flush=True)
    raise AssertionError("a stream ends with the reply")


def _indented(text: str, width: int) -> str:
    """The text with its later lines indented."""
    return text.replace("\n", "\n" + " " * width)
