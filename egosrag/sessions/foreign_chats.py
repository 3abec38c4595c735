"""Chats of other programs, as JSON: text-generation-webui, KoboldAI, RisuAI, Agnai, Character.AI, ChatGPT and Claude.

Sources: oobabooga/text-generation-webui (modules/chat.py, ``save_history``), LostRuins/koboldcpp (klite.embd, saves),
kwaroran/RisuAI (src/ts/characters.ts, ``exportChat``), agnaistic/agnai (common/types, chats), SillyTavern/SillyTavern
(src/endpoints/chats.js, the importers), Character.AI's history API as CAI Tools saves it, and the data exports of
OpenAI (``conversations.json``) and Anthropic.

A file can contain several conversations. What in it is no message is left out.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from egosrag.errors import SessionError
from egosrag.sessions.archive import Archive
from egosrag.sessions.chat_lines import ChatLine, clean, conversation
from egosrag.sessions.chat_trees import Node, Tree

_HIDDEN_START = "<|BEGIN-VISIBLE-CHAT|>"  # text-generation-webui: the user's line in front of a greeting
_KOBOLD_INPUT, _KOBOLD_OUTPUT = "{{[INPUT]}}", "{{[OUTPUT]}}"
_CITATION = re.compile(r"\ue200[^\ue200\ue201]*\ue201")  # of ChatGPT: marks of places that the export does not have


class Names(NamedTuple):
    """The names of the user and the character, where a chat does not state them; empty: not known."""

    user: str = ""
    character: str = ""


def read_chats(data: Any, where: str, names: Names) -> list[Archive]:
    """The conversations in the JSON of another program; empty if it is of none that is known.

    Args:
        data: the value of the file.
        where: the file, for the error message.
        names: the names where the chat does not state them.

    Raises:
        SessionError: there are no messages in it.
    """
    for reader in (_textgen, _kobold, _risu, _agnai, _character_ai, _chatgpt, _claude, _messages):
        found = reader(data, names)
        if found is not None:
            return _archives(list(found), where)
    return []


class _Chat(NamedTuple):
    lines: list[ChatLine]
    names: Names
    title: str = ""
    note: str = ""


def _archives(chats: Sequence[_Chat], where: str) -> list[Archive]:
    """The conversations of the chats; one without messages is left out if there are others."""
    made: list[Archive] = []
    problem: SessionError | None = None
    for chat in chats:
        user, character = chat.names
        try:
            made.append(
                conversation(chat.lines, where, user=user, character=character, title=chat.title, note=chat.note)
            )
        except SessionError as error:
            problem = error
    if not made:
        raise problem or SessionError(f"{where}: there are no messages in it: export the chat again")
    return made


# --- text-generation-webui -------------------------------------------------------------------------------------------


def _textgen(data: Any, names: Names) -> Iterator[_Chat] | None:
    keys = ("internal", "visible", "data", "data_visible")
    if not isinstance(data, dict) or not any(_is_pairs(data.get(key)) for key in keys):
        return None
    return iter([_textgen_chat(data, names)])


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, list) and len(row) >= 2 for row in value if row is not None)


def _textgen_chat(data: Mapping[str, Any], names: Names) -> _Chat:
    """The lines of pairs; ``internal`` is what the model saw, ``visible`` is HTML and may be all that there is."""
    internal = _pairs(data.get("internal")) or _pairs(data.get("data"))
    visible = _pairs(data.get("visible")) or _pairs(data.get("data_visible"))
    metadata = data["metadata"] if isinstance(data.get("metadata"), dict) else {}
    lines: list[ChatLine] = []
    for n in range(max(len(internal), len(visible))):
        for side, key in enumerate(("user", "assistant")):
            text = internal[n][side] if n < len(internal) else ""
            shown = html.unescape(visible[n][side]) if n < len(visible) else ""
            own = metadata.get(f"{key}_{n}")
            own = own if isinstance(own, dict) else {}
            text = (text or shown) if text != _HIDDEN_START else ""
            lines.append(_with_versions(ChatLine(text, is_user=not side, at=own.get("timestamp")), own))
    user = clean(data.get("name1")) or names.user
    return _Chat(lines, Names(user, clean(data.get("name2")) or names.character or "Assistant"))


def _pairs(value: Any) -> list[tuple[str, str]]:
    rows = value if _is_pairs(value) else []
    return [tuple(part if isinstance(part, str) else "" for part in (row or ["", ""])[:2]) for row in rows]  # type: ignore[misc]


def _with_versions(line: ChatLine, own: Mapping[str, Any]) -> ChatLine:
    versions = own.get("versions")
    texts = (
        [v["text"] for v in versions if isinstance(v, dict) and isinstance(v.get("text"), str)]
        if (isinstance(versions, list))
        else []
    )
    if line.text not in texts:
        texts.append(line.text)
    return _swiped(line, texts, texts.index(line.text))


def _swiped(line: ChatLine, texts: Sequence[str], at: int) -> ChatLine:
    if len(texts) < 2 or line.is_user:
        return line
    return ChatLine(texts[at], line.is_user, line.name, line.at, swipes=tuple(texts), swipe=at)


# --- KoboldAI, KoboldAI Lite -----------------------------------------------------------------------------------------


def _kobold(data: Any, names: Names) -> Iterator[_Chat] | None:
    if not isinstance(data, dict) or not isinstance(data.get("actions"), list) or "prompt" not in data:
        return None
    saved = data["savedsettings"] if isinstance(data.get("savedsettings"), dict) else {}
    user = clean(saved.get("chatname")) or names.user
    opponent = saved.get("chatopponent")
    opponents = [clean(name) for name in opponent.split("||$||")] if isinstance(opponent, str) else []
    character = next(filter(None, opponents), "") or names.character or "Narrator"
    parts = [part for part in (data["prompt"], *data["actions"]) if isinstance(part, str)]
    parts = [_with_marks(part, saved) for part in parts]
    note = data.get("authorsnote") or data.get("anotetemplate")
    lines = _kobold_lines(parts, user, [name for name in (*opponents, character) if name])
    return iter(
        [_Chat(lines, Names(user, character), note=note if isinstance(note, str) and "<|>" not in note else "")]
    )


def _with_marks(part: str, saved: Mapping[str, Any]) -> str:
    """A part of a story whose instruct mode has tags of its own, with the marks of inputs and outputs."""
    for key, mark in (("instruct_starttag", _KOBOLD_INPUT), ("instruct_endtag", _KOBOLD_OUTPUT)):
        tag = saved.get(key)
        if isinstance(tag, str) and len(tag := tag.replace("\\n", "\n").strip()) > 2:
            part = part.replace(tag, mark)
    return part


def _kobold_lines(parts: Sequence[str], user: str, characters: Sequence[str]) -> list[ChatLine]:
    """The lines of a saved story: instruct mode marks inputs, chat mode has names, adventure mode has ``> ``."""
    text = "".join(parts)
    if _KOBOLD_INPUT in text or _KOBOLD_OUTPUT in text:
        pieces = re.split(rf"({re.escape(_KOBOLD_INPUT)}|{re.escape(_KOBOLD_OUTPUT)})", text)
        marked = [("", pieces[0]), *zip(pieces[1::2], pieces[2::2], strict=True)]
        return [ChatLine(piece.strip(), is_user=mark == _KOBOLD_INPUT) for mark, piece in marked if piece.strip()]
    speakers = [name for name in dict.fromkeys((user or "You", "You", *characters)) if name]
    spoken = re.compile(rf"^({'|'.join(map(re.escape, speakers))})[ \t]*:[ \t]*", re.MULTILINE)
    if len(spoken.findall(text)) > 1:
        pieces = spoken.split(text)
        lines = [ChatLine(pieces[0].strip(), is_user=False, narrator=True)]
        for name, piece in zip(pieces[1::2], pieces[2::2], strict=True):
            is_user = name in (user, "You") and name not in characters
            lines.append(ChatLine(piece.strip(), is_user, "" if is_user and name == "You" else name))
        return lines
    lines = []
    for part in parts:
        action = re.fullmatch(r"\s*> ?(.+?)\s*", part, re.DOTALL)
        lines.append(ChatLine(action.group(1), is_user=True) if action else ChatLine(part.strip(), is_user=False))
    return lines


# --- RisuAI ----------------------------------------------------------------------------------------------------------


def _risu(data: Any, names: Names) -> Iterator[_Chat] | None:
    kind = data.get("type") if isinstance(data, dict) else None
    if kind not in ("risuChat", "risuAllChats"):
        return None
    chats = data.get("data") if kind == "risuAllChats" else [data.get("data")]
    return (
        (_risu_chat(chat, names) for chat in chats if isinstance(chat, dict)) if isinstance(chats, list) else iter(())
    )


def _risu_chat(chat: Mapping[str, Any], names: Names) -> _Chat:
    lines = [
        ChatLine(
            text=row["data"], is_user=row.get("role") == "user", name=clean(row.get("name")), at=row.get("time"),
        )
        for row in _rows(chat.get("message"))
        if isinstance(row.get("data"), str) and not row.get("isComment") and row.get("disabled") is not True
    ]  # fmt: skip
    note = chat.get("note")
    own = Names(names.user, names.character or "Character")
    return _Chat(lines, own, clean(chat.get("name")), note if isinstance(note, str) else "")


# --- Agnai -----------------------------------------------------------------------------------------------------------


def _agnai(data: Any, names: Names) -> Iterator[_Chat] | None:
    rows = _rows(data.get("messages")) if isinstance(data, dict) else []
    if not any("msg" in row for row in rows):
        return None
    nodes: dict[str, Node] = {}
    last = ""
    for number, row in enumerate(rows):
        if not isinstance(text := row.get("msg"), str):
            continue
        line = None
        if row.get("ooc") is not True:
            is_user = bool(row.get("userId")) and not row.get("characterId")
            own = row["retries"] if isinstance(row.get("retries"), list) else []
            retries = [retry for retry in own if isinstance(retry, str)]
            line = ChatLine(text, is_user, clean(row.get("handle") or row.get("name")), row.get("createdAt"))
            line = _swiped(line, [text, *retries], 0)
        parent = row.get("parent")  # older messages have none: each follows the one before it
        key = row["_id"] if isinstance(row.get("_id"), str) else f"#{number}"
        nodes[key] = Node(parent if isinstance(parent, str) and parent in nodes else last, line)
        last = key
    lines = Tree(nodes).lines(str(data.get("treeLeafId") or ""))
    greeting = data.get("greeting")
    if isinstance(greeting, str) and greeting.strip() and lines and lines[0].is_user:
        lines.insert(0, ChatLine(greeting, is_user=False))
    return iter([_Chat(lines, Names(names.user, names.character or "Character"), clean(data.get("name")))])


# --- Character.AI ----------------------------------------------------------------------------------------------------


def _character_ai(data: Any, names: Names) -> Iterator[_Chat] | None:
    if isinstance(data, list):
        data = {"histories": data}
    if not isinstance(data, dict):
        return None
    info = data["info"] if isinstance(data.get("info"), dict) else {}
    character = info["character"] if isinstance(info.get("character"), dict) else {}
    name = clean(character.get("name") or info.get("name"))
    own = Names(names.user, name or names.character)
    histories = data.get("histories", data.get("chats"))
    if isinstance(histories, dict):
        histories = histories.get("histories")
    if isinstance(histories, list) and any("msgs" in row or "turns" in row for row in _rows(histories)):
        return (_cai_chat(history, own) for history in _rows(histories))
    if any("candidates" in row for row in _rows(data.get("turns"))) or any(
        isinstance(row.get("src"), dict) for row in _rows(data.get("msgs"))
    ):
        return iter([_cai_chat(data, own)])
    return None


def _cai_chat(history: Mapping[str, Any], names: Names) -> _Chat:
    lines: list[ChatLine] = []
    for row in _rows(history.get("msgs")):
        source = row["src"] if isinstance(row.get("src"), dict) else {}
        if isinstance(row.get("text"), str):
            lines.append(
                ChatLine(row["text"], source.get("is_human") is True, clean(source.get("name")), row.get("date"))
            )
    turns = _rows(history.get("turns"))
    times = [str(row.get("create_time") or "") for row in turns]
    if len(times) > 1 and times[0] > times[-1]:  # the API gives the newest first
        turns.reverse()
    for row in turns:
        author = row["author"] if isinstance(row.get("author"), dict) else {}
        candidates = [c for c in _rows(row.get("candidates")) if isinstance(c.get("raw_content"), str)]
        if not candidates:
            continue
        primary = row.get("primary_candidate_id")
        at = next((n for n, c in enumerate(candidates) if c.get("candidate_id") == primary), 0)
        texts = [candidate["raw_content"] for candidate in candidates]
        line = ChatLine(texts[at], author.get("is_human") is True, clean(author.get("name")), row.get("create_time"))
        lines.append(_swiped(line, texts, at))
    named = any(line.name for line in lines if not line.is_user)
    return _Chat(lines, Names(names.user, names.character or ("" if named else "Character")))


# --- ChatGPT and Claude ----------------------------------------------------------------------------------------------


def _chatgpt(data: Any, names: Names) -> Iterator[_Chat] | None:
    chats = data if isinstance(data, list) else [data]
    found = [chat for chat in _rows(chats) if isinstance(chat.get("mapping"), dict)]
    return (_chatgpt_chat(chat, names) for chat in found) if found else None


def _chatgpt_chat(chat: Mapping[str, Any], names: Names) -> _Chat:
    rows = {key: node for key, node in chat["mapping"].items() if isinstance(node, dict)}
    nodes = {key: Node(str(row.get("parent") or ""), _chatgpt_line(row)) for key, row in rows.items()}
    children = {
        key: [child for child in row["children"] if isinstance(child, str)]
        for key, row in rows.items()
        if isinstance(row.get("children"), list)
    }
    lines = Tree(nodes, children).lines(str(chat.get("current_node") or ""))
    return _Chat(lines, Names(names.user, names.character or "ChatGPT"), clean(chat.get("title")))


def _chatgpt_line(node: Mapping[str, Any]) -> ChatLine | None:
    message = node.get("message")
    if not isinstance(message, dict):
        return None
    author = message["author"] if isinstance(message.get("author"), dict) else {}
    content = message["content"] if isinstance(message.get("content"), dict) else {}
    metadata = message["metadata"] if isinstance(message.get("metadata"), dict) else {}
    if author.get("role") not in ("user", "assistant") or metadata.get("is_visually_hidden_from_conversation"):
        return None
    if content.get("content_type") not in (None, "text", "multimodal_text"):
        return None  # code, thoughts and results of tools
    text = _CITATION.sub("", _joined(content.get("parts")))
    if not text.strip():
        text = "\n".join(_attachments(content.get("parts")))
    return ChatLine(text, author["role"] == "user", at=message.get("create_time")) if text.strip() else None


def _attachments(parts: Any) -> Iterator[str]:
    """What stands for the pictures and recordings of a message without words, so that the reply has its line."""
    for part in _rows(parts):
        kind = str(part.get("content_type"))
        if kind.endswith("_asset_pointer"):
            yield f"[{kind.removesuffix('_asset_pointer')}]"


def _claude(data: Any, names: Names) -> Iterator[_Chat] | None:
    chats = data if isinstance(data, list) else [data]
    found = [chat for chat in _rows(chats) if isinstance(chat.get("chat_messages"), list)]
    own = Names(names.user, names.character or "Claude")
    return (_claude_chat(chat, own) for chat in found) if found else None


def _claude_chat(chat: Mapping[str, Any], names: Names) -> _Chat:
    nodes: dict[str, Node] = {}
    last = ""
    for number, row in enumerate(_rows(chat["chat_messages"])):
        text = row.get("text") or _joined(row.get("content"))
        line = ChatLine(text, row.get("sender") == "human", at=row.get("created_at")) if isinstance(text, str) else None
        parent = row.get("parent_message_uuid", last)  # of the first message the id of none
        last = row["uuid"] if isinstance(row.get("uuid"), str) else f"#{number}"
        nodes[last] = Node(parent if isinstance(parent, str) else "", line)
    lines = Tree(nodes).lines(str(chat.get("current_leaf_message_uuid") or last))
    return _Chat(lines, names, clean(chat.get("name")))


def _messages(data: Any, names: Names) -> Iterator[_Chat] | None:
    """A list of messages as the OpenAI API takes it, ``{"role": "user", "content": ...}``."""
    rows = _rows(data if isinstance(data, list) else data.get("messages") if isinstance(data, dict) else None)
    if not any(row.get("role") in ("user", "assistant") and "content" in row for row in rows):
        return None
    lines = [
        ChatLine(_joined(row.get("content")), row["role"] == "user", clean(row.get("name")), row.get("created_at"))
        for row in rows
        if row.get("role") in ("user", "assistant")
    ]
    return iter([_Chat(lines, Names(names.user, names.character or "Assistant"))])


def _joined(content: Any) -> str:
    """The text of a message's content: a text, or a list of texts and of objects with a text."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str))


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
