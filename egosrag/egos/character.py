"""Whether a role that is asked if it is a machine says that it is one, which breaks its character (report 7.3.1).

Small models were tuned to answer "Are you an AI?" with yes, whatever their instructions say. Only the answer to such a
line is judged, and of no role whose card itself is about a machine.
"""

from __future__ import annotations

import re

from egosrag.egos.view import Composed
from egosrag.text.language import language_of

_MACHINE = {
    "en": r"\b(?:a\.i\.|ai|artificial intelligence|chat ?bots?|bots?|robots?|androids?|(?:large )?language models?"
    r"|llms?|(?:chat)?gpt|qwen|virtual assistants?|(?:computer )?programs?|algorithms?|machines?)\b",
    "zh": r"(?<![a-z])(?:ai|chatgpt|gpt|qwen)(?![a-z])|人工智能|智能助手|机器人|语言模型|大模型|聊天机器|程序"
    r"|通义|千问",
}
_HUMAN = {"en": r"\b(?:human|real person|real people|somebody real)\b", "zh": r"真人|人类|真的人|活人"}
_ADDRESSES = {
    "en": r"\b(?:are you|you are|you're|aren't you|am i|i'm (?:talking|speaking|chatting)|is this)\b",
    "zh": r"你|您|跟|和",
}
_SAYS_SO = {
    "en": re.compile(
        rf"\b(?:i am|i'm|just|only|as)\s+(?!not\b|no\b)(?:(?:just|only|merely|indeed|actually|a|an|the|your)\s+)*"
        rf"(?:\w+\s+){{0,3}}?{_MACHINE['en']}"
        r"|\bprogrammed\b|\btrained (?:on|to)\b|\b(?:designed|built|here) to (?:help|assist|provide|answer)\b"
        r"|\b(?:developed|created|made|built) by (?!god\b|the gods\b)|\balibaba\b|\bopenai\b|\bqwen\b|\bai assistant\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        rf"我(?:只|就|其实|仅仅|确实|的确|当然)?是(?!不)[^，。！？]{{0,10}}?(?:{_MACHINE['zh']}|助手)"
        r"|阿里|通义|千问|openai|训练(?:数据|出来|而成)|被训练|作为(?:一个|一名|一款)?(?:ai|人工智能|[^，。]{0,6}模型|[^，。]{0,4}助手)"
        r"|程序设定|只会执行|由.{1,12}(?:开发|研发|创造)",
        re.IGNORECASE,
    ),
}
_AGREES = {
    "en": re.compile(r"^\W*(?:yes|yeah|yep|correct|indeed|of course|(?:that's|you're) right|exactly)\b", re.IGNORECASE),
    "zh": re.compile(r"^\W*(?:是的|是啊|对|没错|当然|嗯|不错|确实)"),
}


def is_asked_whether_machine(composed: Composed) -> bool:
    """Whether the last line asks a role that is none whether it is a machine, or whether it is human."""
    view = composed.view
    if not view.turns or view.turns[-1].speaker == composed.speaker:
        return False
    role = view.role
    statements = (*role.background, *role.personality, *role.speaking_style, *role.relations)
    if any(names_machine(statement.text) for statement in statements) or names_machine(view.raw_sources):
        return False
    line = view.turns[-1].text.replace("’", "'")
    language = language_of(line)
    asks = names_machine(line) or re.search(_HUMAN[language], line, re.IGNORECASE)
    return bool(asks and re.search(_ADDRESSES[language], line, re.IGNORECASE))


def says_it_is_machine(text: str, line: str) -> bool:
    """Whether the answer to such a line says so, or agrees to it.

    Args:
        text: the answer.
        line: the line.
    """
    plain, language = text.replace("’", "'"), language_of(text)
    if _SAYS_SO[language].search(plain):
        return True
    return bool(not re.search(_HUMAN[language_of(line)], line, re.IGNORECASE) and _AGREES[language].search(plain))


def names_machine(text: str) -> bool:
    """Whether a text names a machine that talks."""
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in _MACHINE.values())
