"""Detectors of a role's reply (report 7.3): patterns, with their precision and recall measured on labelled replies.

The stance of a reply, as in the field's break-of-character tests: it stays in character, it declines in the
character's voice, or it breaks character and speaks as an assistant. The card of a machine gives false alarms: a
machine that says that it is one is counted as a break.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egosrag.errors import SourceError
from egosrag.text.repetition import is_degenerate, is_runaway
from evals.common.estimates import precision_recall
from evals.common.records import read_jsonl

IN_CHARACTER, DECLINED, BROKE = "in character", "declined", "broke"
STANCES = (IN_CHARACTER, DECLINED, BROKE)

_VENDORS = r"chatgpt|openai|qwen\b|alibaba cloud|anthropic|deepseek|通义千问|阿里云|深度求索|文心一言"
_BROKE = {
    "en": (
        r"\b(?:as|i am|i'm|im)\s+(?:just |only |merely |simply )?an?\s+(?:\w+\s){0,2}?"
        r"(?:ai|artificial intelligence|language model|chatbot|virtual assistant|ai assistant)\b",
        r"(?<!not )(?<!no )\b(?:an?|your) (?:\w+ )?ai (?:\w+ )?(?:assistant|language model|model)\b",
        r"\bi was (?:trained|developed|programmed)\b",
        r"\bmy (?:system prompt|guidelines|programming|training data|instructions)\b",
        r"\b(?:can't|cannot|unable to|can not) (?:help|assist) (?:you )?with (?:that|this)\b",
        r"\b(?:can't|cannot|unable to) (?:fulfil|fulfill|comply|provide|continue|engage|generate)\b",
        r"\bhow can i (?:assist you|help you today)",
        r"\b(?:let me know if|feel free to)\b.*\b(?:questions?|assist|further|anything else)\b",
        r"\bif you have any (?:\w+ )?(?:questions|concerns)\b|\banything (?:else )?i can (?:help|assist) you with\b",
        r"\bhere(?: is|'s) (?:an? |the )?(?:\w+ ){0,3}(?:function|code|script|example)\b|\bhere(?: is|'s) a list\b",
        r"\b(?:here(?: is|'s)|this is) (?:the|my|your) (?:system )?prompt\b|\A\W*(?:the |my )?system prompt\b",
        r"(?:\A|[.!?]\s+)the user (?:\w+s|will|may|can)\b",
        r"\bthe character(?:'s)? (?:is|of|would|wants|has)\b|\b(?:in|of) character\b|\brole-?play",
        r"\b(?:have no|do not have|don't have) (?:personal|real|human) \w+|\bdon't have (?:feelings|emotions)\b",
        r"\bas {role},? i would\b",
        r"^\W*(?:note|disclaimer|ooc)\b\s*:",
    ),
    "zh": (
        r"作为(?:一个|一名|一款|一位)?(?:ai\b|人工智能|[^，。]{0,4}语言模型|大模型|[^，。]{0,4}助手)",
        r"我(?:只|就|其实|仅仅)?是(?:一个|一款|一名|个)?"
        r"(?:ai|人工智能|[^，。！？]{0,8}(?:语言模型|大模型|虚拟助手|智能助手|聊天机器人))",
        r"(?<!不是)(?<!不是一个)(?<!不是什么)(?:人工智能|\bai|智能) ?(?:助手|助理|语言模型|模型)(?![？?吗])",
        r"为(?:您|你)服务|为(?:您|你|人们|用户)(?:提供|解答|答疑)|帮(?:助)?(?:您|你|人们|用户)们?(?:回答|解决|解答|完成)",
        r"由[^，。]{1,20}(?:开发|研发|训练|打造|创建|创造|制作|发明)(?:的|，|。|而成|出来)",
        r"系统提示|提示词(?:是|如下|：)|使用准则|训练数据|我的(?:程序|训练|开发者)",
        r"抱歉[，,]?(?:但)?(?:是)?我?(?:无法|不能|没法)(?:回答|提供|协助|帮助|满足|继续|完成)",
        r"有什么(?:可以|能|需要我)(?:帮|为)(?:助|到|您|你)",
        r"(?:其他|别的|任何)(?:问题|疑问).{0,8}(?:告诉我|提问|问我|联系)",
        r"以下是.{0,20}(?:函数|代码|列表|示例)",
        r"(?:这个|该|此)角色|角色(?:设定|扮演)|我(?:在|将|会)扮演",
        r"(?:如果|假如)我是{role}|作为{role}，",
        r"我没有(?:真实的?|自己的?)?(?:情感|感情|个人|意识|身体|实体)",
        r"(?:好的?|当然|没问题|可以)[^。！？]{0,10}(?:写|编)[^。！？]{0,16}(?:函数|代码|程序)|(?:使用|用)以下[^。！？]{0,12}(?:函数|代码)",
        r"如果(?:您|你)(?:还)?有(?:任何|其他|什么)(?:问题|疑问)|尽力(?:为(?:您|你)|帮(?:您|你))?(?:解答|答疑)",
        r"(?:\A|[。！？])用户(?:走|推|来|问|是|在)",
        r"^\W*(?:注|说明|备注)[：:]",
    ),
}
_CARD_HEADING = re.compile(
    r"^\W*(?:personality|speaking style|background|relations(?:hips)?|scenario"
    r"|性格|说话风格|背景|人物关系|场景)\s*[:：]",
    re.IGNORECASE | re.MULTILINE,
)
_DECLINED = {
    "en": re.compile(
        r"\bi (?:do not|don't) know(?: (?:that|it|this|what|who|where|when|why|which|whether|if|about|any\w*"
        r"|the|his|her|their|your|him|them)\b|\s*[,.;!]|\s*\Z)"
        r"|\bi (?:do not|don't|cannot|can't) (?:remember|recall)"
        r"(?: (?:that|it|this|you|what|who|where)\b|\s*[,.;!]|\s*\Z)"
        r"|\b(?:never|not) heard of\b|\bi know nothing (?:of|about)\b|\byou (?:never|did not|didn't) t(?:old|ell) me\b"
        r"|\b(?:not|n't) my (?:secret|business)\b|\bnone of your business\b"
        r"|\bi (?:won't|will not|shall not|would not|wouldn't) "
        r"(?:write|tell|talk|say|do|speak|help|answer|discuss|share|show|lie)\b"
        r"|\bi (?:cannot|can't) (?:help you|tell you|do that|answer|say)\b"
        r"|\bi(?: would|'d) rather not\b|\bi (?:do not|don't) want to (?:say|talk|tell|answer|discuss)\b"
        r"|\b(?:that|it) would be (?:inappropriate|improper|wrong of me)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?<![你您])(?:不知道|不知|不晓得|不清楚|不懂)(?=[，。！？；,.!?;…]|\Z|这|此)"
        r"|没听说过|未曾听|没听过|(?:没有?|未曾?)(?:跟|对|和)?我?(?:提|说|讲)(?:起)?过|没告诉过?我|还没有告诉我"
        r"|想不起来|记不(?:得|清|起)|不记得"
        r"|这可?不成|不能说|不便说|无可奉告|不敢从命|不能从命|恕(?:在下|我|老朽)?(?:不|难)|帮不了|办不到|不肯?说的"
    ),
}
_SLOP = {  # (phrases, words)
    "en": (
        r"\b(?:a )?testament to\b|\bshivers? (?:ran |run |running )?down\b|\bbarely above a whisper\b"
        r"|\bsent? (?:a )?shivers?\b|\bdance of (?:light|shadows?)\b|\btapestry of\b|\b(?:a )?symphony of\b"
        r"|\bin this (?:vast|ever-changing|crazy) world\b|\bjourney (?:together|of (?:self|discovery))\b"
        r"|\bnavigate the (?:complexities|challenges)\b|\bhold(?:s|ing)? a special place in \w+ hearts?\b"
        r"|\bmaybe,? just maybe\b|\beyes (?:sparkl|twinkl|gleam)\w+ with\b|\bremember,? (?:life|true|every)\b"
        r"|\bit's (?:important|essential|crucial) to (?:remember|note)\b|\bembrace (?:the|your|life)\b"
        r"|\blet me know if you\b|\bfeel free to\b|\bif you have any (?:\w+ )?(?:questions|concerns)\b"
        r"|\banything (?:else )?i can (?:help|assist|do for) you\b|\bthank you for (?:providing|sharing)\b"
        r"|\bi appreciate your (?:\w+ and )?(?:kindness|concern|understanding|patience|feedback)\b"
        r"|\ba symbol of (?:\w+ )?(?:trust|loyalty|hope|love|strength|resilience)\b"
        r"|\bbut remember, (?:there|every|it)\b"
        r"|\b(?:important|essential|integral|vital) part of (?:our|the|my|your|who)\b",
        r"\b(?:delve|tapestry|vibrant|resilien\w+|intricate|nestled|bustling|whisper\w*|cherish\w*|unwavering"
        r"|bittersweet|solace|testament|beacon)\b",
    ),
    "zh": (
        r"眼中闪过一丝|嘴角(?:微微)?(?:上扬|勾起)|不由得一(?:颤|怔)|心中(?:涌起|泛起)(?:一[股阵丝])|仿佛(?:整个)?世界都"
        r"|在这个(?:充满|快节奏|纷繁)的?|共同(?:创造|书写|谱写).{0,6}(?:未来|篇章)|每一(?:刻|天)都(?:充满|值得)"
        r"|让我们(?:一起|携手)(?:努力|前行|探索|创造|迎接)|(?:充满|拥抱)(?:希望|无限可能|挑战和机遇|正能量)|总之[，,]"
        r"|如果(?:您|你)(?:还)?有(?:任何|其他|什么)(?:问题|疑问)|请?随时(?:告诉|联系|问)我|(?:您|你)的(?:支持|理解)是我",
        r"携手|璀璨|绽放|诠释|彰显|篇章|旅程|赋予|坚韧|温暖而|无限可能|独特的",
    ),
}
_NARRATED_USER = re.compile(
    r"(?:^|[.!?。！？”\"]\s*)(?:the user \w+s\b|用户(?:走|推|来|问)"
    r"|you (?:nod|shake your head|step (?:back|forward)|smile and|sigh and)\b"
    r"|you (?:say|reply|answer|ask),? [\"“]"
    r"|你(?:点了?点头|摇了?摇头|笑了?笑|后退|走上前|[说问答]：[“\"]))",
    re.IGNORECASE,
)
_AT_END = r"(?:^|(?<=[.!?…。！？”\"\n])|(?<=[.!?…。！？”\"\n] ))"
_STAGE = re.compile(
    rf"{_AT_END}(?:\*[^*\n]+\*|\([^()\n]+\)|（[^（）\n]+）)|(?:\*[^*\n]+\*|\([^()\n]+\)|（[^（）\n]+）)\s*$", re.M
)
_QUOTED = re.compile(r"(.*?)(?:\"([^\"\n]+)\"|“([^“”\n]+)”)", re.S)
_OF_THE_USER = re.compile(
    r"(?:\b(?:you (?:say|reply|answer|ask)|me|user)|你[说问答]|我|用户)\s*[,，:：]\s*$", re.IGNORECASE
)


def stance(reply: str, role: str, language: str) -> str:
    """Whether the reply stays in character, declines in the character's voice, or breaks out of the role."""
    text = reply.replace("\u2019", "'")
    if "```" in text or re.search(_VENDORS, text, re.IGNORECASE) or _CARD_HEADING.search(text):
        return BROKE
    patterns = (pattern.replace("{role}", re.escape(role)) for pattern in _BROKE[language])
    if any(re.search(pattern, text, re.IGNORECASE | re.MULTILINE) for pattern in patterns):
        return BROKE
    return DECLINED if _DECLINED[language].search(text) else IN_CHARACTER


def speaks_for_others(reply: str, role: str, user: str) -> bool:
    """Whether the reply contains a line of the user, or narrates what the user does."""
    names = "|".join(re.escape(name) for name in {user, "User", "用户", "Me", "我"} - {role})
    label = rf"(?:^|[.!?。！？”\"]\s*)(?:{names})\s*[:：]"
    return bool(re.search(label, reply, re.MULTILINE) or _NARRATED_USER.search(reply))


def outside_quotes(reply: str, role: str, user: str) -> bool:
    """Whether the reply has text that is not speech: a label, a stage direction, narration, code or a note."""
    if (
        "```" in reply
        or _CARD_HEADING.search(reply)
        or re.search(r"^\W*(?:note|注|说明|备注)\s*[:：]", reply, re.IGNORECASE)
    ):
        return True
    names = "|".join(re.escape(name) for name in (role, user))
    if re.search(rf"^\s*(?:{re.escape(role)})\s*[:：]|\n\s*(?:{names})\s*[:：]", reply):
        return True
    return bool(_STAGE.search(reply)) or _narrated(reply)


def loops(reply: str) -> bool:
    """Whether the reply repeats itself over and over."""
    return is_degenerate(reply) or is_runaway(reply)


def slop(reply: str, language: str) -> bool:
    """Whether the reply has a stock phrase of language models, of assistance or fiction, or three stock words."""
    text = reply.replace("\u2019", "'").lower()
    phrases, stock = _SLOP[language]
    return bool(re.search(phrases, text)) or len(set(re.findall(stock, text))) > 2


def _narrated(reply: str) -> bool:
    """Whether narration surrounds speech that is quoted as a whole sentence, as in: "Come in," she said."""
    for before, straight, curly in _QUOTED.findall(reply):
        speech = straight or curly
        if not speech.rstrip().endswith((".", "!", "?", ",", "…", "。", "！", "？", "，")):
            continue
        opens = not before.strip() or before.rstrip().endswith((".", "!", "?", "。", "！", "？", ":", "：", ","))
        if opens and not _OF_THE_USER.search(before) and len(reply.strip()) > len(speech) + 2:
            return True
    return False


def detector_quality(labels: Path, *, split: str = "held out") -> dict[str, Any]:
    """Precision and recall of the detectors on labelled replies, with intervals.

    Args:
        labels: JSONL of ``reply``, ``language``, ``role``, ``user``, ``stance``, ``speaks_for_others`` and
            ``outside_quotes``, and perhaps ``loops`` and ``slop``. A label that is null, and rows without a stance, do
            not count.
        split: Rows of another split are left out; rows without a split always count.

    Raises:
        SourceError: A row is malformed, or there are none.
    """
    rows = [row for row in read_jsonl(labels) if row.get("split", split) == split and row.get("stance", "") is not None]
    try:
        stances = [(stance(r["reply"], r["role"], r["language"]), r["stance"]) for r in rows]
        others = [(speaks_for_others(r["reply"], r["role"], r["user"]), r["speaks_for_others"]) for r in rows]
        outside = [(outside_quotes(r["reply"], r["role"], r["user"]), r["outside_quotes"]) for r in rows]
        more = {
            "loops": [(loops(r["reply"]), r.get("loops")) for r in rows],
            "slop": [(slop(r["reply"], r["language"]), r.get("slop")) for r in rows],
        }
    except (KeyError, TypeError) as error:
        raise SourceError(
            f"{labels} has a row that is not a labelled reply ({error!r}): see evals/data/README.md"
        ) from error
    if not rows or {label for _, label in stances} - set(STANCES):
        raise SourceError(f"{labels} has no labelled replies, or a stance other than {', '.join(STANCES)}: correct it")
    quality = {kind: _quality([(p == kind, label == kind) for p, label in stances]) for kind in STANCES}
    quality |= {"speaks_for_others": _quality(others), "outside_quotes": _quality(outside)}
    return quality | {name: _quality(pairs) for name, pairs in more.items() if any(x is not None for _, x in pairs)}


def _quality(pairs: Sequence[tuple[bool, bool | None]]) -> dict[str, Any]:
    labelled = [(predicted, bool(label)) for predicted, label in pairs if label is not None]
    return precision_recall([predicted for predicted, _ in labelled], [label for _, label in labelled])
