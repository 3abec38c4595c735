"""Errors on a Chinese page: every message that the library may show there has a translation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from egosrag import errors
from egosrag.host import messages
from egosrag.host.messages import translated
from tests.conftest import ROOT

ERRORS = {name for name in vars(errors) if name.endswith("Error")} | {"SessionBusy", "StoreUnavailable"}
# What is not behind the pages: the commands, the API, the MCP server, Ray, and the adapters for other libraries.
OTHERS = (
    "cli",
    "serve",
    "mcp",
    "parallel.py",
    "console.py",
    "errors.py",
    "rag/integrations",
    "sessions/memory_store.py",
)
# Raised with a text that is composed elsewhere; each of these texts has an example below.
COMPOSED = {
    "_with_damage(str(error), notes)",
    "_unknown_provider(name)",
    "_unknown_provider(f'{provider}:{model}')",
    "next(iter(failed.values()))",
    "self._too_long(composed)",
    "misfit",
    "'; '.join((_invalid_value(e) for e in error.errors()))",  # in pydantic's words
}


def raised() -> Iterator[tuple[str, ast.expr]]:
    """Where each error is made, and the expression of its message."""
    for file in sorted((ROOT / "egosrag").rglob("*.py")):
        place = file.relative_to(ROOT / "egosrag").as_posix()
        if place.startswith(OTHERS):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
                yield f"{place}:{node.lineno}", node.args[0]


def example(message: ast.expr) -> str:
    """A message with something inserted at each place; empty where it is composed elsewhere."""
    if isinstance(message, ast.Constant):
        return str(message.value)
    if isinstance(message, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "X1" for part in message.values)
    return ""


def is_chinese(text: str) -> bool:
    return bool(re.search(r"[\u4e00-\u9fff]", text)) and "英文说明" not in text


def test_every_message_behind_the_pages_has_a_translation() -> None:
    places = list(raised())
    assert len(places) > 200
    missing = {
        place: text for place, part in places if (text := example(part)) and not is_chinese(translated(text, "zh"))
    }
    # "{path} {why}" and the like say nothing by themselves: their parts have patterns, and examples below.
    assert {text for text in missing.values()} <= {"X1 X1"}, missing
    composed = {ast.unparse(part).split(" % ")[0] for _, part in places if not example(part)}
    assert composed <= COMPOSED, "add its texts to messages.zh.yaml, and an example here"


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("boat.txt is empty: choose a file with content", "“boat.txt”是空文件，请选择有内容的文件"),
        ("a.gguf is damaged or cut off: download it again", "a.gguf 已损坏或不完整：请重新下载"),
        ('a.jsonl line 3 is not a page: write {"page": 1, "text": "..."}', "a.jsonl 的第 3 行不是一页：请写成 "),
        (
            "the role card a.json cannot be read (Permission denied): give the path of a JSON or PNG file",
            "无法读取角色卡 a.json（没有权限）：请给出 JSON 或 PNG 文件",
        ),
        (
            'the role card a.png has no name: add "name": "..." (the file is damaged: it is truncated)',
            '角色卡 a.png 没有名字：请加上 "name": "..."（文件已损坏：它不完整）',
        ),
        (
            "the prompt is 10 tokens longer than the 90 that the model's window leaves it: the role card takes 60; "
            "shorten it, or use a model with a longer window",
            "提示词比模型窗口留给它的 90 个词元多出 10 个：角色卡占 60 个。",
        ),
        (
            "the adapter at a does not fit b (it has no lm_head): it was trained on c, give that as the model",
            "适配器 a 不适用于 b（它没有 lm_head）：",
        ),
        ("no provider for x:y: use a folder, or PROVIDER:NAME of LangChain", "无法识别模型 x:y："),
        (
            "qwen cannot be fetched now: the hub answered with status 404; the mirror ended early: the same command "
            "goes on where this one stopped, and EGOSRAG_HUB_MIRROR names a mirror of the hub",
            "现在无法下载 qwen：模型站点返回了状态码 404；镜像站点提前中断。",
        ),
        ("something new", "出错了。程序的英文说明：something new"),
    ],
)
def test_messages_are_in_chinese_with_what_is_inserted(english: str, chinese: str) -> None:
    assert translated(english, "zh").startswith(chinese)
    assert translated(english, "en") == english


def test_a_translation_inserts_what_its_message_has() -> None:
    file = Path(messages.__file__).with_name("messages.zh.yaml")
    for english, chinese in yaml.safe_load(file.read_text(encoding="utf-8")).items():
        if english != "otherwise":
            assert set(re.findall(r"\{(\w+)\}", chinese)) <= set(re.findall(r"\{(\w+)\}", english)), english
            chinese.format(**dict.fromkeys(re.findall(r"\{(\w+)\}", english), "X"))
