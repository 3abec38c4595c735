"""Chats of other programs are imported: their lines, names, dates and the other versions of replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egosrag.errors import SessionError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Persona, Role
from egosrag.sessions import sillytavern
from egosrag.sessions.archive import Archive, problems
from egosrag.sessions.catalog import restore
from egosrag.sessions.chat_lines import ChatLine, iso_time
from egosrag.sessions.chat_trees import Node, Tree
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.foreign_chats import Names, read_chats
from egosrag.sessions.sillytavern import from_jsonl, to_jsonl
from egosrag.sessions.transfer import read, read_all

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "chats"
LATE, SORRY, SIT = "You are late.", "Sorry.", "Sit."


def message(role: str, text: str, **more: Any) -> dict[str, Any]:
    return {"author": {"role": role}, "content": {"content_type": "text", "parts": [text]}, **more}


def node(parent: str | None, children: list[str], content: Any = None) -> dict[str, Any]:
    return {"parent": parent, "children": children, "message": content}


GPT = {
    "title": "Clocks", "current_node": "d",
    "mapping": {
        "root": node(None, ["s"]),
        "s": node("root", ["a"], message("system", "hidden")),
        "a": node("s", ["b", "b2"], message("user", SORRY, create_time=1714557600.5)),
        "b2": node("a", ["x"], message("assistant", "Go away.")),
        "x": node("b2", ["y"], message("user", "Why?")),
        "y": node("x", [], message("assistant", "Because.")),
        "b": node("a", ["t"], message("assistant", SIT)),
        "t": node("b", ["d"], message("tool", "a search")),
        "d": node("t", [], message("user", "Thanks.")),
    },
}  # fmt: skip
CAI_TURNS = [
    {"author": {"name": "Ann", "is_human": True}, "candidates": [{"raw_content": SORRY}], "create_time": "2024-05-02"},
    {"author": {"name": "Ilka"}, "create_time": "2024-05-01", "primary_candidate_id": "2",
     "candidates": [{"candidate_id": "1", "raw_content": "Hm."}, {"candidate_id": "2", "raw_content": LATE}]},
]  # fmt: skip
CHATS: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "textgen": (
        {"internal": [["<|BEGIN-VISIBLE-CHAT|>", LATE], [SORRY, SIT]], "visible": [["", LATE], [SORRY, SIT]]},
        [("Assistant", LATE), ("Me", SORRY), ("Assistant", SIT)],
    ),
    "textgen, older, HTML": (
        {"data": [["", ""], None], "data_visible": [["Don&#x27;t &lt;go&gt;", SIT]], "name1": "Ann", "name2": "Ilka"},
        [("Ann", "Don't <go>"), ("Ilka", SIT)],
    ),
    "kobold, chat": (
        {"prompt": "A shop.", "authorsnote": "dry",
         "actions": ["\nAnn: Sorry.", "\nIlka: Sit.\nThere.", None],
         "savedsettings": {"chatname": "Ann", "chatopponent": "Ilka"}},
        [("Narrator", "A shop."), ("Ann", SORRY), ("Ilka", "Sit.\nThere.")],
    ),
    "kobold, instruct": (
        {"prompt": "{{[INPUT]}}Sorry.{{[OUTPUT]}}Sit.", "actions": ["{{[INPUT]}}Thanks.", "{{[OUTPUT]}}Hm."]},
        [("Me", SORRY), ("Narrator", SIT), ("Me", "Thanks."), ("Narrator", "Hm.")],
    ),
    "kobold, adventure": (
        {"prompt": "You are late.", "actions": ["\n\n> Sit down\n\n", "You sit."], "actions_metadata": {}},
        [("Narrator", LATE), ("Me", "Sit down"), ("Narrator", "You sit.")],
    ),
    "risu": (
        {"type": "risuChat", "ver": 2, "data": {"name": "Chat 1", "note": "dry", "message": [
            {"role": "char", "data": LATE, "time": 1714557600000}, {"data": 3},
            {"role": "user", "data": "{{user}}: Sorry."}]}},
        [("Character", LATE), ("Me", "Me: Sorry.")],
    ),
    "agnai": (
        {"name": "x", "greeting": LATE, "messages": [
            {"_id": "1", "userId": "u", "handle": "Ann", "msg": SORRY, "createdAt": "2024-05-01T10:00:00.000Z"},
            {"_id": "2", "characterId": "c", "handle": "Ilka", "msg": SIT, "retries": ["Go.", None]}]},
        [("Ilka", LATE), ("Ann", SORRY), ("Ilka", SIT)],
    ),
    "character.ai, old": (
        {"info": {"character": {"name": "Ilka"}}, "histories": {"histories": [{"msgs": [
            {"src": {"name": "Ilka", "is_human": False}, "text": LATE}, {"src": {"is_human": True}, "text": SORRY}]}]}},
        [("Ilka", LATE), ("Me", SORRY)],
    ),
    "character.ai, new": ({"turns": CAI_TURNS}, [("Ilka", LATE), ("Ann", SORRY)]),
    "chatgpt": ([GPT, {"mapping": None}], [("Me", SORRY), ("ChatGPT", SIT), ("Me", "Thanks.")]),
    "claude": (
        [{"name": "x", "chat_messages": [{"sender": "human", "text": SORRY}, {"sender": "assistant", "text": SIT}]}],
        [("Me", SORRY), ("Claude", SIT)],
    ),
    "messages": (
        {"messages": [{"role": "system", "content": "x"},
                      {"role": "user", "content": [{"type": "text", "text": SORRY}]},
                      {"role": "assistant", "content": SIT}]},
        [("Me", SORRY), ("Assistant", SIT)],
    ),
    "sillytavern as a list": (
        [{"user_name": "Ann", "character_name": "Ilka"}, {"mes": LATE}, {"mes": SORRY, "is_user": True}],
        [("Ilka", LATE), ("Ann", SORRY)],
    ),
}  # fmt: skip


def lines(archive: Archive) -> list[tuple[str, str]]:
    return [(turn.speaker, turn.text) for turn in archive.turns]


@pytest.mark.parametrize("name", CHATS)
def test_the_lines_of_every_program(name: str, tmp_path: Path) -> None:
    data, expected = CHATS[name]
    (tmp_path / "chat.json").write_text(json.dumps(data), encoding="utf-8")
    notes: list[str] = []
    archive = read(tmp_path / "chat.json", notes.append)
    assert lines(archive) == expected
    assert not notes and not list(problems(archive))
    again = from_jsonl(to_jsonl(archive), "a.jsonl", notes.append)
    assert lines(again) == expected, "what is exported to SillyTavern is the same chat"
    assert [again.record.texts(t.id) for t in again.turns] == [archive.record.texts(t.id) for t in archive.turns]


def test_a_card_and_a_user_may_be_given(tmp_path: Path) -> None:
    ilka = Role.model_validate({"name": "Ilka", "greeting": LATE})
    (tmp_path / "chat.json").write_text(json.dumps(CHATS["textgen"][0]), encoding="utf-8")
    [archive] = read_all(tmp_path / "chat.json", user="Ann", role=ilka)
    assert lines(archive) == [("Ilka", LATE), ("Ann", SORRY), ("Ilka", SIT)]
    assert archive.roles == (ilka,)


def test_versions_of_a_reply_become_swipes_with_what_followed_them(tmp_path: Path) -> None:
    [archive] = read_chats([GPT], "x", Names())
    assert (archive.session, archive.turns[0].at) == ("Clocks", "2024-05-01T10:00:00+00:00")
    assert archive.record.texts(archive.turns[1].id) == [SIT, "Go away."]
    model = ScriptedChatModel(responses=['Well."'])
    talk = Conversation(model, Role(name="ChatGPT"), session="s", persona=Persona(name="Me"))
    restore(talk.thread.store, archive, "s")
    talk.choose(1, archive.turns[1].id)
    assert [turn.text for turn in talk.turns()] == [SORRY, "Go away.", "Why?", "Because."]
    [cai] = read_chats({"turns": CAI_TURNS}, "x", Names())
    assert cai.record.texts(cai.turns[0].id) == ["Hm.", LATE]
    [agnai] = read_chats(CHATS["agnai"][0], "x", Names())
    assert agnai.record.texts(agnai.turns[-1].id) == [SIT, "Go."]
    textgen = {**CHATS["textgen"][0], "metadata": {"assistant_1": {"versions": [{"text": "Stay."}, {"text": SIT}]}}}
    [chat] = read_chats(textgen, "x", Names())
    assert chat.record.texts(chat.turns[-1].id) == ["Stay.", SIT]


def swipes_of(archive: Archive) -> dict[str, list[str]]:
    """The versions of each reply that has several."""
    versions = {turn.text: archive.record.texts(turn.id) for turn in archive.turns}
    return {text: texts for text, texts in versions.items() if len(texts) > 1}


def code(parent: str, child: str) -> dict[str, Any]:
    return node(parent, [child], {"author": {"role": "assistant"}, "content": {"content_type": "code", "text": "x()"}})


def test_replies_behind_calls_of_tools_are_versions_of_each_other() -> None:
    mapping = {
        "a": node(None, ["c1", "c2"], message("user", SORRY)),
        "c1": code("a", "t1"), "t1": node("c1", ["b1"], message("tool", "found")),
        "b1": node("t1", ["u"], message("assistant", "Go.")), "u": node("b1", [], message("user", "Why?")),
        "c2": code("a", "t2"), "t2": node("c2", ["b2"], message("tool", "found")),
        "b2": node("t2", ["e1", "e2"], message("assistant", "\ue200cite\ue202turn0search1\ue201" + SIT)),
        "e1": node("b2", ["f1"], message("user", "Ok.")), "f1": node("e1", [], message("assistant", "One.")),
        "e2": node("b2", ["f2"], message("user", "No.")), "f2": node("e2", [], message("assistant", "Two.")),
    }  # fmt: skip
    [archive] = read_chats([{"mapping": mapping, "current_node": "f2"}], "x", Names())
    assert [text for _, text in lines(archive)] == [SORRY, SIT, "No.", "Two."]
    assert swipes_of(archive) == {SIT: ["Go.", SIT]}
    [swipes] = archive.swipes
    assert [turn.text for turn in swipes.branches[0].turns] == ["Go.", "Why?"]


def test_a_picture_without_words_keeps_its_line() -> None:
    picture = {"author": {"role": "user"}, "content": {"content_type": "multimodal_text", "parts": [
        {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}]}}  # fmt: skip
    mapping = {"a": node(None, ["b"], picture), "b": node("a", [], message("assistant", SIT))}
    [archive] = read_chats([{"mapping": mapping, "current_node": "b"}], "x", Names())
    assert lines(archive) == [("Me", "[image]"), ("ChatGPT", SIT)]


def test_branches_of_agnai_and_claude_are_not_mixed() -> None:
    def said(key: str, parent: str | None, by: str, text: str, **more: Any) -> dict[str, Any]:
        return {"_id": key, "parent": parent, "msg": text, by: "1", **more}

    messages = [
        said("0", None, "characterId", "Hm."), said("1", None, "userId", SORRY),
        said("2", "1", "characterId", SIT, retries=["Lie."]), said("3", "1", "characterId", "Stand."),
        said("4", "3", "userId", "Why?"), said("5", "2", "userId", "Yes."),
    ]  # fmt: skip
    [agnai] = read_chats({"messages": messages, "treeLeafId": "5"}, "x", Names())
    assert [text for _, text in lines(agnai)] == ["Hm.", SORRY, SIT, "Yes."]
    assert swipes_of(agnai) == {SIT: [SIT, "Lie.", "Stand."]}
    assert [turn.text for turn in agnai.swipes[0].branches[2].turns] == ["Stand.", "Why?"]

    def wrote(key: str, parent: str, sender: str, text: str) -> dict[str, Any]:
        return {"uuid": key, "parent_message_uuid": parent, "sender": sender, "text": text}

    rows = [
        wrote("a", "none", "human", "Helo"), wrote("b", "a", "assistant", "What?"), wrote("c", "none", "human", SORRY),
        wrote("d", "c", "assistant", "Go."), wrote("e", "c", "assistant", SIT), wrote("f", "e", "human", "Yes."),
    ]  # fmt: skip
    [claude] = read_chats({"chat_messages": rows, "current_leaf_message_uuid": "f"}, "x", Names())
    assert [text for _, text in lines(claude)] == [SORRY, SIT, "Yes."]
    assert swipes_of(claude) == {SIT: ["Go.", SIT]}
    [flat] = read_chats({"chat_messages": [{"sender": "human", "text": SORRY}, {"text": SIT}]}, "x", Names())
    assert [text for _, text in lines(flat)] == [SORRY, SIT]


def test_narrators_and_dates_go_back_to_sillytavern() -> None:
    rows = [{"user_name": "Ann", "character_name": "Ilka"}, {"name": "Ilka", "mes": LATE},
            {"name": "System", "mes": "Rain.", "extra": {"type": "narrator"}},
            {"name": "Ann", "is_user": True, "mes": SORRY, "send_date": "2025-05-01T10:01:00+00:00"},
            {"name": "Ilka", "mes": SIT}]  # fmt: skip
    written = [
        json.loads(line) for line in to_jsonl(from_jsonl("\n".join(map(json.dumps, rows)), "x", print)).splitlines()
    ]
    assert [row["is_user"] for row in written[1:]] == [False, False, True, False]
    assert written[2]["extra"]["type"] == "narrator" and "type" not in written[1]["extra"]
    assert {row["send_date"] for row in written[1:]} == {"2025-05-01T10:01:00+00:00"} == {written[0]["create_date"]}


def test_tags_of_koboldais_instruct_mode() -> None:
    story = {"prompt": f"\n### Instruction:\n{SORRY}\n### Response:\n", "actions": [SIT, "\n### Instruction:\nWhy?"],
             "savedsettings": {"instruct_starttag": "\\n### Instruction:\\n",
                               "instruct_endtag": "\\n### Response:\\n"}}  # fmt: skip
    [archive] = read_chats(story, "x", Names("Ann", "Ilka"))
    assert lines(archive) == [("Ann", SORRY), ("Ilka", SIT), ("Ann", "Why?")]


def test_lists_of_character_ais_chats() -> None:
    for data in ([{"turns": CAI_TURNS}], {"chats": [{"turns": CAI_TURNS}]}):
        [archive] = read_chats(data, "x", Names())
        assert [text for _, text in lines(archive)] == [LATE, SORRY]


@pytest.mark.parametrize(
    "date",
    ["May 1, 2025 10:01am", "May 1, 2025 10:01 AM", "2025-5-1@10h1m0s", "2025-05-01@10h01m00s123ms",
     "2025-05-01 @10h 01m 00s 4ms", "2025-05-01T10:01:00+00:00", "2025-05-01 10:01:00.123456", 1746093660000.0,
     "1746093660", "Thu, 01 May 2025 10:01:00 GMT", "Thu May 01 2025 12:01:00 GMT+0200 (CEST)", "2025年5月1日 10:01"],
)  # fmt: skip
def test_dates_of_every_program(date: Any) -> None:
    assert iso_time(date) == "2025-05-01T10:01:00+00:00"


def test_a_reply_that_was_stopped_before_its_first_word_is_no_version() -> None:
    rows = [{"name": "Ilka", "mes": "", "swipes": [LATE, ""], "swipe_id": 1},
            {"name": "Ann", "is_user": True, "mes": SORRY},
            {"name": "Ilka", "mes": SIT, "swipes": ["", "Go.", SIT], "swipe_id": 2}]  # fmt: skip
    archive = from_jsonl("\n".join(map(json.dumps, rows)), "x", print)
    assert lines(archive) == [("Ilka", LATE), ("Ann", SORRY), ("Ilka", SIT)]
    assert swipes_of(archive) == {SIT: ["Go.", SIT]}


def test_lines_that_run_into_each_other_are_read() -> None:
    first, second = (json.dumps({"name": "Ilka", "mes": text}) for text in (LATE, SIT))
    notes: list[str] = []
    archive = from_jsonl(f'{first}{second}\n{{"name":"Ilka","is_u{first}\n"a" "b"\n7', "x", notes.append)
    assert [text for _, text in lines(archive)] == [LATE, SIT, LATE]
    assert notes == ["x, line 2: this is not JSON and is left out", "x, line 3: this is not JSON and is left out",
                     "x, line 4: this is not a message and is left out"]  # fmt: skip


@pytest.mark.parametrize("current", [[], {}, None, 3, "gone"])
def test_a_current_node_that_is_none_takes_the_newest_line(current: Any) -> None:
    [archive] = read_chats({**GPT, "current_node": current}, "x", Names())
    assert lines(archive)[-1] == ("Me", "Thanks.")


def test_several_conversations_of_a_file(tmp_path: Path) -> None:
    chats = {"type": "risuAllChats", "data": [CHATS["risu"][0]["data"], {"message": []}, CHATS["risu"][0]["data"]]}
    (tmp_path / "all.json").write_text(json.dumps(chats), encoding="utf-8")
    archives = read_all(tmp_path / "all.json")
    assert [archive.note for archive in archives] == ["dry", "dry"]
    assert len({turn.id for archive in archives for turn in archive.turns}) == 4


def test_a_chat_without_messages_or_of_no_program_is_an_error(tmp_path: Path) -> None:
    for data, match in (
        ({"type": "risuChat", "data": {"message": []}}, "there are no messages in it"),
        ({"x": 1}, '"format" is not'),
        ([1], '"format" is not'),
    ):
        (tmp_path / "chat.json").write_text(json.dumps(data), encoding="utf-8")
        with pytest.raises(SessionError, match=match):
            read(tmp_path / "chat.json")


ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud800\0")
ANY = st.recursive(ODD, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_chat_is_read_or_one_line_of_error(data: st.DataObject) -> None:
    chat = json.loads(json.dumps(CHATS[data.draw(st.sampled_from(sorted(CHATS)))][0]))
    for _ in range(data.draw(st.integers(1, 4))):  # replace values anywhere
        at: Any = chat
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key: Any = data.draw(st.sampled_from(keys))
            if not isinstance(at[key], dict | list) or data.draw(st.integers(0, 3)) == 0:
                at[key] = data.draw(ANY)
                break
            at = at[key]
    try:
        archives = read_chats(chat, "x", Names())
    except SessionError as error:
        assert "\n" not in str(error)
    else:
        assert not [problem for archive in archives for problem in problems(archive)]
        assert all(archive.text().encode() for archive in archives)


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not on this machine")
@pytest.mark.parametrize("file", sorted(CASES.glob("*")) if CASES.is_dir() else [], ids=lambda file: file.name)
def test_the_shared_cases_are_imported(file: Path) -> None:
    notes: list[str] = []
    [archive] = read_all(file, notes.append, user="Ann", role=Role(name="Ilka"))
    assert lines(archive)[:2] == [("Ilka", LATE), ("Ann", SORRY)]
    assert [note.partition(":")[0] for note in notes] == (
        [f"{file.name}, line 4"] if file.name in ("nullline.jsonl", "truncated.jsonl") else []
    )


def test_many_messages_run_together_in_a_line_and_long_trees_take_linear_time() -> None:
    row = '{"name":"Tim","is_user":false,"mes":"hi"}'
    notes: list[str] = []
    assert len(list(sillytavern._rows(row * 200_000, "chat.jsonl", notes.append))) == 200_000 and not notes
    assert not list(sillytavern._rows('{"name":' * 200_000, "chat.jsonl", notes.append)) and len(notes) == 1
    nodes = {str(n): Node(str(n - 1), ChatLine(f"line {n}", n % 2 == 0)) for n in range(200_000)}
    assert len(Tree(nodes).lines("199999")) == 200_000
