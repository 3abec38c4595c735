"""Export and import of conversations: JSON loses nothing, SillyTavern chats are read, invalid files are rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egosrag.errors import SessionError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Persona, Role, Turn
from egosrag.sessions.archive import Archive, read_archive
from egosrag.sessions.catalog import _role_names, archive_of, delete_session, list_sessions, restore
from egosrag.sessions.chat_lines import iso_time
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.group import GroupChat
from egosrag.sessions.json_places import line_of
from egosrag.sessions.sillytavern import to_jsonl
from egosrag.sessions.store import open_store
from egosrag.sessions.transfer import read, to_markdown, write
from tests.roles.cards import TIM, WUKONG
from tests.sessions.test_history import SummarizingModel


def scripted(*responses: str) -> ScriptedChatModel:
    return ScriptedChatModel(responses=list(responses))


def full_conversation() -> Conversation:
    """A conversation with scenes, with siblings that other turns follow, and with an interrupted turn."""
    talk = Conversation(SummarizingModel(summarized=[]), TIM, window=300, session="full")
    for word in ("red", "blue", "green", "black", "white", "brown", "grey"):
        talk.say(f"Today the sky over the long and quiet street is {word} again.")
    talk.regenerate(talk.turns()[9].id)
    talk.say("Is it <b>late</b>?")
    pieces = talk.stream("And?")
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert talk.scenes() and talk.record.swipes and talk.turns()[-1].status == "interrupted"
    return talk


# --- the native JSON -----------------------------------------------------------------------------------------------


def test_export_and_import_as_json_lose_nothing(any_store: str, tmp_path: Path) -> None:
    talk = full_conversation()
    path = tmp_path / "full.json"
    talk.export(path)
    archive = read(path)
    assert archive.record == talk.record
    assert archive.roles == (TIM,)
    assert archive.user == "Me"
    with open_store(any_store) as store:
        restore(store, archive, "again")
        model = scripted('Yes."')
        again = Conversation(model, "Tim", checkpointer=store, session="again")
        assert again.record == talk.record
        assert again.role == TIM, "an imported session keeps its card"
        assert archive_of(store, "again") == archive.model_copy(update={"session": "again"})
        assert again.say("Go on.").text == "Yes."
        assert "Tim is a baker" in str(model.calls[0].messages[0].text)
        other = TIM.model_copy(update={"background": WUKONG.background})
        assert Conversation(model, other, checkpointer=store, session="again").role == other, "a passed card wins"
        with pytest.raises(SessionError, match="already a session 'again'"):
            restore(store, archive, "again")


def test_a_line_without_a_reply_can_be_answered_after_the_import() -> None:
    archive = Archive(roles=(TIM,), turns=(Turn(speaker="Me", text="Hi"),))
    talk = Conversation(scripted('Hello."'), TIM, session="s")
    restore(talk.thread.store, archive, "s")
    assert talk.regenerate().text == "Hello."
    assert talk.turns()[0] == archive.turns[0]


def test_a_group_chat_is_exported_and_imported(tmp_path: Path) -> None:
    talk = GroupChat(scripted('I am Tim."', "俺老孙。”"), [TIM, WUKONG], session="two")
    talk.say("Hello")
    talk.go_on()
    talk.export(tmp_path / "two.json")
    archive = read(tmp_path / "two.json")
    assert archive.roles == (TIM, WUKONG)
    other = GroupChat(scripted('Yes."'), [TIM, WUKONG], session="two")
    restore(other.thread.store, archive, "two")
    assert other.record == talk.record
    assert other.go_on().speaker == "Tim"


@pytest.mark.parametrize("name", ["Marlow, Edda", "Edda, Marlow", ", ", "a,b", "Ann, Ann"])
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_a_role_with_a_comma_in_its_name_comes_back_as_one_role(name: str, ending: str, tmp_path: Path) -> None:
    with open_store(tmp_path / "talk.sqlite") as store:
        Conversation(scripted('Hello."'), name, checkpointer=store, session="s").say("Hi")
        write(archive_of(store, "s"), tmp_path / f"out.{ending}")
        archive = read(tmp_path / f"out.{ending}")
        assert [role.name for role in archive.roles] == [name.strip()]
        restore(store, archive, "again")
        talk = Conversation(scripted('Yes."'), name, checkpointer=store, session="again")
        assert talk.say("And now?").text == "Yes."
        assert [role.name for role in archive_of(store, "again").roles] == [name.strip()]


def test_a_group_is_not_a_role_whose_name_reads_the_same() -> None:
    marlow, edda = Role(name="Marlow"), Role(name="Edda")
    group = GroupChat(scripted('Hello."'), [marlow, edda], session="s")
    group.say("Hi")
    with pytest.raises(SessionError, match="belongs to"):
        Conversation(scripted(), "Edda, Marlow", checkpointer=group.thread.store, session="s")
    assert [role.name for role in archive_of(group.thread.store, "s").roles] == ["Marlow", "Edda"]


def test_a_session_without_a_list_of_names_is_exported() -> None:
    """As sessions were stored before: the name alone, of a role or of several."""
    talk = Conversation(scripted('Hello."'), "Marlow, Edda", session="s")
    talk.say("Hi")
    values = {name: value for name, value in talk.thread.values().items() if name != "names"}
    assert _role_names(values, talk.record) == ["Marlow, Edda"]
    group = GroupChat(scripted('Hello."'), [Role(name="Marlow"), Role(name="Edda")], session="s")
    group.say("Hi")
    assert _role_names({"name": group.name}, group.record) == ["Edda", "Marlow"]


TURNS = [{"speaker": "Me", "text": "Hi", "id": "a"}, {"speaker": "Tim", "text": "Hello.", "id": "b"}]
GOOD: dict[str, Any] = {"format": "egosrag.conversation", "version": 1, "roles": [{"name": "Tim"}], "turns": TURNS}


@pytest.mark.parametrize(
    ("change", "line", "problem"),
    [
        ({"format": "other"}, 1, '"format" is not'),
        ({"version": 2}, 3, "version: Input should be 1"),
        ({"roles": []}, 4, "roles: Tuple should have at least 1 item"),
        ({"roles": [{"name": " "}]}, 6, "a role needs a name"),
        ({"more": 1}, 21, "more: Extra inputs"),
        ({"turns": [TURNS[0], {"speaker": "Tim"}]}, 15, "text: Field required"),
        ({"turns": [TURNS[0], {**TURNS[1], "text": 7}]}, 17, "text: Input should be a valid string"),
        ({"turns": [TURNS[0], {**TURNS[1], "status": "odd"}]}, 19, "status: Input should be 'complete'"),
        ({"turns": [TURNS[0], {**TURNS[1], "id": "a"}]}, 18, "a second turn has the id 'a'"),
        ({"turns": [{**TURNS[0], "id": "../../x y"}]}, 13, "is not made of letters"),
        ({"turns": [{**TURNS[0], "speaker": " "}]}, 11, "no speaker"),
        ({"turns": [{**TURNS[0], "at": "soon"}]}, 14, "'soon' is not a date and time"),
        ({"turns": [{**TURNS[0], "text": "a\x00b"}]}, 10, "null character"),
        ({"roles": [{"name": "Tim", "background": ["\ud800"]}]}, 8, "half of a character"),
        ({"scenes": [{"text": "x", "turn_ids": ["zz"]}]}, 22, "not in the conversation"),
        ({"swipes": [{"id": "zz", "at": 0, "branches": [{}]}]}, 22, "not in the conversation"),
        ({"swipes": [{"id": "b", "at": 3, "branches": [{}]}]}, 22, "not one of the 1 branches"),
        ({"swipes": [{"id": "b", "at": 0, "branches": [{}, {}]}]}, 22, "must be empty"),
    ],
)
def test_an_invalid_conversation_is_rejected_with_the_line_of_the_problem(
    change: dict[str, Any], line: int, problem: str
) -> None:
    text = json.dumps({**GOOD, **change}, indent=1)
    with pytest.raises(SessionError) as error:
        read_archive(text, "a.json")
    assert str(error.value).startswith(f"a.json, line {line}: "), error.value
    assert problem in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "{", '{"format":\n "egosrag.conversation",\n', "[1]", '"x"', "null", "[" * 100_000]
)
def test_a_file_that_is_not_a_conversation_is_a_one_line_error(text: str) -> None:
    with pytest.raises(SessionError, match=r"^a\.json.*(line \d|nested)") as error:
        read_archive(text, "a.json")
    assert "\n" not in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON, indent=st.sampled_from([None, 0, 2]), data=st.data())
def test_line_of_finds_every_value(value: Any, indent: int | None, data: st.DataObject) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    path: list[str | int] = []
    while isinstance(value, dict | list) and value:
        step: Any = data.draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        path.append(step)
        value = value[step]
    rest = "\n".join(text.split("\n")[line_of(text, path) - 1 :])
    first = json.dumps(value, indent=indent, ensure_ascii=False).split("\n")[0]
    assert first in rest.split("\n")[0]


# --- SillyTavern ---------------------------------------------------------------------------------------------------

CHAT = [
    {"user_name": "Bob", "character_name": "Edda", "create_date": "2024-5-1@10h", "chat_metadata": {"note": "x"}},
    {"name": "Edda", "is_user": False, "is_system": False, "send_date": "May 1, 2024 10:00am", "mes": "Come in!"},
    {"name": "Bob", "is_user": True, "send_date": 1714557600000, "mes": "Hi\n*waves*", "extra": {}},
    {"name": "System", "is_user": False, "is_system": True, "mes": "hidden", "send_date": ""},
    {"name": "Edda", "is_user": False, "mes": "Two.", "swipe_id": 1, "swipes": ["One.", "Two.", "Three."], "gen": 1},
]


def jsonl(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_sillytavern_chat_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(jsonl(*CHAT), encoding="utf-8")
    archive = read(path)
    assert [(t.speaker, t.text) for t in archive.turns] == [
        ("Edda", "Come in!"), ("Bob", "Hi\n*waves*"), ("Edda", "Two."),
    ]  # fmt: skip
    assert [turn.at for turn in archive.turns] == ["2024-05-01T10:00:00+00:00", "2024-05-01T10:00:00+00:00", ""]
    assert (archive.user, [role.name for role in archive.roles]) == ("Bob", ["Edda"])
    talk = Conversation(scripted('Yes."'), Role(name="Edda"), persona=Persona(name=archive.user), session="s")
    restore(talk.thread.store, archive, "s")
    assert talk.swipes() == ["One.", "Two.", "Three."]
    talk.choose(2)
    assert talk.say("Well?").text == "Yes."
    assert [turn.text for turn in talk.turns()][2:] == ["Three.", "Well?", "Yes."]


def test_export_and_import_as_a_sillytavern_chat_keep_turns_and_swipes(tmp_path: Path) -> None:
    talk = full_conversation()
    talk.export(tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[0]["user_name"] == "Me" and rows[0]["character_name"] == "Tim"
    assert all({"name", "is_user", "is_system", "send_date", "mes", "extra"} <= set(row) for row in rows[1:])
    back = read(tmp_path / "a.jsonl")
    assert list(back.turns) == talk.turns()
    assert [back.record.texts(t.id) for t in back.turns] == [talk.swipes(t.id) for t in talk.turns()]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (["[]"], 'line 1: there is no "user_name"'),
        ([""], 'line 1: there is no "user_name"'),
        (['{"x": 1}'], 'line 1: there is no "user_name"'),
        ([json.dumps(CHAT[0])], "line 1: there are no messages in it"),
        (['{"mes": "Hi", "is_user": true}'], "line 1: neither the first line nor a message names a character"),
    ],
)
def test_what_is_no_sillytavern_chat_is_one_line_of_error(rows: list[str], problem: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(SessionError) as error:
        read(path, lambda note: None)
    assert str(error.value).startswith("chat.jsonl, ") and problem in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "texts", "note"),
    [
        ("{", [], "line 2: this is not JSON and is left out"),
        ("null", [], "line 2: this is not a message and is left out"),
        ('{"name": "Edda"}', [], "line 2: the message has no text and is left out"),
        ('{"name": null, "mes": "x"}', [("Edda", "x")], ""),
        ('{"name": " ", "mes": "x", "is_user": 1}', [("Bob", "x")], ""),
        ('{"name": "Edda", "mes": "a\\u0000b\\ud800"}', [("Edda", "ab\ufffd")], ""),
        ('{"name": "Edda", "mes": "x", "extra": {"egosrag": {"id": "a b"}}}', [("Edda", "x")], ""),
        ('{"name": "Edda", "mes": {"message": "x"}, "swipes": [{"message": "x"}, null]}', [("Edda", "x")], ""),
        ('{"name": "Edda", "mes": null, "swipes": ["x", "y"], "swipe_id": 1.0}', [("Edda", "y")], ""),
        ('{"name": "Edda", "mes": "hi {{user}}", "is_system": null, "extra": []}', [("Edda", "hi Bob")], ""),
        ('{"name": "System", "mes": "Rain.", "extra": {"type": "narrator"}}', [("System", "Rain.")], ""),
        ('{"name": "Edda", "mes": "x", "extra": {"bookmark_link": "b 1"}}', [("Edda", "x")], "leads to the chat 'b 1'"),
    ],
)
def test_one_odd_line_is_read_or_left_out_and_named(row: str, texts: Any, note: str, tmp_path: Path) -> None:
    path, notes = tmp_path / "chat.jsonl", list[str]()
    header = {**CHAT[0], "character_name": "Edda"}
    path.write_bytes("\r\n".join([json.dumps(header), row, json.dumps(CHAT[1]), json.dumps(CHAT[2])]).encode())
    archive = read(path, notes.append)
    assert [(t.speaker, t.text) for t in archive.turns] == [*texts, ("Edda", "Come in!"), ("Bob", "Hi\n*waves*")]
    assert [role.name for role in archive.roles] == ["Edda"]
    assert (note in notes[0] and notes[0].startswith("chat.jsonl, ")) if note else not notes


@pytest.mark.parametrize(
    ("date", "at"),
    [
        (1714557600000.0, "2024-05-01T10:00:00+00:00"),
        ("1714557600", "2024-05-01T10:00:00+00:00"),
        (1714557600, "2024-05-01T10:00:00+00:00"),
        ("2024-05-01@10h00m00s", "2024-05-01T10:00:00+00:00"),
        ("2024-05-01 @10h 00m 00s 123ms", "2024-05-01T10:00:00.123000+00:00"),
        ("2024-05-01T10:00:00.000Z", "2024-05-01T10:00:00.000Z"),
        ("May 1, 2024 10:00am", "2024-05-01T10:00:00+00:00"),
        (True, ""), (None, ""), ("", ""), ("yesterday", ""), (1e300, ""), (-5, ""), ([], ""), ("99999999999999999", ""),
    ],
)  # fmt: skip
def test_dates_in_any_form_are_read(date: Any, at: str) -> None:
    assert iso_time(date)[:19] == at[:19]


def test_swipes_of_every_kind(tmp_path: Path) -> None:
    rows = [
        {"name": "Edda", "mes": "B", "swipes": [None, "A", {"message": "B"}, "C"], "swipe_id": 2},
        {"name": "Edda", "mes": "edited", "swipes": ["D", "E"], "swipe_id": 0},
        {"name": "Edda", "mes": "F", "swipes": ["F"], "swipe_id": 9},
        {"name": "Edda", "mes": "H", "swipes": ["G"], "swipe_id": "x"},
    ]
    (tmp_path / "a.jsonl").write_text(jsonl(CHAT[0], *rows), encoding="utf-8")
    archive = read(tmp_path / "a.jsonl")
    record = archive.record
    assert [record.texts(turn.id) for turn in archive.turns] == [["A", "B", "C"], ["edited", "E"], ["F"], ["G", "H"]]
    assert [turn.text for turn in archive.turns] == ["B", "edited", "F", "H"]


def test_a_group_chat_has_several_roles_and_a_note(tmp_path: Path) -> None:
    header = {"chat_metadata": {"note_prompt": "It rains."}, "user_name": "unused", "character_name": "unused"}
    rows = [{"name": n, "is_user": n == "Bob", "mes": n} for n in ("Edda", "Bob", "Tim", "Edda")]
    (tmp_path / "a.jsonl").write_text(jsonl(header, *rows), encoding="utf-8")
    archive = read(tmp_path / "a.jsonl")
    assert ([role.name for role in archive.roles], archive.user, archive.note) == (["Edda", "Tim"], "Bob", "It rains.")
    assert '"note_prompt": "It rains."' in to_jsonl(archive)


# --- Markdown and files --------------------------------------------------------------------------------------------


def test_markdown_escapes_everything_but_emphasis() -> None:
    turns = (
        Turn(speaker="Me", text="<script>x</script> [a](javascript:x) & `b`"),
        Turn(speaker="Tim", text="# No heading\n- no list\n1. none\n> no quote\n*softly*"),
    )
    text = to_markdown(Archive(roles=(TIM,), turns=turns))
    assert text == (
        "# Tim\n\n**Me:** &lt;script>x&lt;/script> \\[a](javascript:x) &amp; \\`b\\`\n\n"
        "**Tim:** \\# No heading\n\n\\- no list\n\n\\1. none\n\n\\> no quote\n\n*softly*\n"
    )


def test_unreadable_and_unwritable_files_are_one_line_errors(tmp_path: Path) -> None:
    archive = Archive(roles=(TIM,))
    for name, match in (("a.txt", "known format"), ("no/a.json", "cannot be written")):
        with pytest.raises(SessionError, match=match):
            write(archive, tmp_path / name)
    (tmp_path / "b.json").write_bytes(b'{\n"format": "\xff"}')
    for name, match in (("none.json", "cannot be read"), ("b.json", "b.json, line 2: this is not UTF-8")):
        with pytest.raises(SessionError, match=match):
            read(tmp_path / name)


# --- the catalog ---------------------------------------------------------------------------------------------------


def test_sessions_are_listed_and_deleted(any_store: str) -> None:
    with open_store(any_store) as store:
        assert list_sessions(store) == []
        for session in ("a", "b"):
            Conversation(scripted('Yes."'), TIM, checkpointer=store, session=session).say("Hi")
        found = list_sessions(store)
        assert sorted((info.session, info.name, info.turns) for info in found) == [("a", "Tim", 2), ("b", "Tim", 2)]
        assert all(info.at.startswith("20") for info in found)
        delete_session(store, "a")
        assert [info.session for info in list_sessions(store)] == ["b"]
        for nothing in (lambda: delete_session(store, "a"), lambda: archive_of(store, "a")):
            with pytest.raises(SessionError, match="'a'.*egosrag sessions list"):
                nothing()
    in_memory = Conversation(scripted('Yes."'), TIM, session="m")
    in_memory.say("Hi")
    assert [info.session for info in list_sessions(in_memory.thread.store)] == ["m"]
