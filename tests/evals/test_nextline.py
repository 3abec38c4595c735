"""The true next line: prompts as the product writes them, likelihoods as a plain pass computes them, paired results."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from langchain_core.messages import AIMessage
from typer.testing import CliRunner

from egosrag.errors import SettingsError, SourceError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.prompts.encode import encode, encode_text
from egosrag.schema import Role, Turn
from egosrag.sessions.conversation import Conversation
from evals.common.command import app_of
from evals.common.records import Records
from evals.nextline import run
from evals.nextline.command import command
from evals.nextline.novel import read_novel
from evals.nextline.report import summary
from evals.nextline.rows import Line, Profile, read_lines, read_profiles, sample
from evals.nextline.systems import SYSTEMS, Writer, parse_systems
from evals.ppl.run import Weights, load_model
from tests.models.conftest import gguf_of

PROFILES = {"Tim": {"job": "drives a tram", "personality": "dry"}, "悟空": {"性格": "急躁", "口头禅": ["俺老孙"]}}
ROWS: list[dict[str, Any]] = [
    {"id": 1, "role": "Tim", "turns": [{"speaker": "Ann", "text": "Hello."}, {"speaker": "Tim", "text": "Yes?"},
                                       {"speaker": "Ann", "text": "(waits) What stop is it?"}],
     "spoken": "The last one."},
    {"id": 2, "role": "Tim", "turns": [{"speaker": "Bo", "text": "Late?"}], "spoken": 'I said "no".'},
    {"id": 3, "role": "悟空", "turns": [{"speaker": "唐僧", "text": "你是谁？"}], "reference": "（笑）俺是孙悟空。"},
    {"id": 4, "role": "Eve", "turns": [{"speaker": "Bo", "text": "Who is there?"}], "spoken": "Eve."},
]  # fmt: skip
LONG = {
    "role": "Tim",
    "turns": [{"speaker": ("Ann", "Tim")[n % 2], "text": f"Line {n}, and {n} more."} for n in range(7)],
    "spoken": "Done.",
}


@pytest.fixture()
def files(tmp_path: Path) -> tuple[Path, Path]:
    lines, profiles = tmp_path / "lines.jsonl", tmp_path / "profiles.json"
    lines.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    profiles.write_text(json.dumps(PROFILES, ensure_ascii=False), encoding="utf-8")
    return lines, profiles


@pytest.fixture()
def lines(files: tuple[Path, Path]) -> list[Line]:
    return read_lines(files[0], pytest.fail)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app_of(command), list(arguments))


def system(name: str) -> Any:
    return next(s for s in SYSTEMS if s.name == name)


def test_rows_lose_stage_directions_and_name_the_user(lines: list[Line]) -> None:
    assert [line.spoken for line in lines] == ["The last one.", 'I said "no".', "俺是孙悟空。", "Eve."]
    assert [turn.text for turn in lines[0].turns] == ["Hello.", "Yes?", "What stop is it?"]


def test_a_row_that_cannot_be_used_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path, notes = tmp_path / "l.jsonl", list[str]()
    bad = ["{nope", "[1]", '{"role": "Tim"}', '{"role": "Tim", "turns": [], "spoken": "x"}',
           '{"role": "Tim", "turns": [{"speaker": "Ann", "text": null}], "spoken": "x"}',
           '{"role": "Tim", "turns": "Ann: hi", "spoken": "x"}',
           '{"role": "Tim", "turns": [{"speaker": "Ann", "text": "a"}], "spoken": " "}',
           '{"role": "Tim", "turns": [{"speaker": "Ann", "text": "\\ud800"}], "spoken": "x"}',
           *(json.dumps(ROWS[0] | {"role": role}) for role in (None, ["Tim"], 7))]  # fmt: skip
    path.write_text("\n".join([*bad, json.dumps(ROWS[0])]), encoding="utf-8")
    assert [line.id for line in read_lines(path, notes.append)] == ["1"]
    assert [note.split(" is left out")[0] for note in notes] == [f"l.jsonl: line {n}" for n in range(1, 12)]
    assert notes[-1].endswith("(its role is not a text)")
    with pytest.raises(SourceError, match="has no usable row"):
        path.write_text("{}", encoding="utf-8")
        read_lines(path, notes.append)


def test_profiles_are_fields_text_or_cards(tmp_path: Path, files: tuple[Path, Path]) -> None:
    profiles = read_profiles(files[1])
    assert profiles["Tim"].text == "job: drives a tram\npersonality: dry"
    card = profiles["悟空"].card
    assert [s.text for s in card.personality] == ["性格：急躁"] and [s.text for s in card.speaking_style] == [
        "口头禅：俺老孙"
    ]
    (tmp_path / "t.json").write_text('{"Tim": "Tim drives a tram."}', encoding="utf-8")
    assert read_profiles(tmp_path / "t.json")["Tim"].card.background[0].text == "Tim drives a tram."
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "tim.json").write_text('{"name": "Tim", "background": ["Tim drives."]}', encoding="utf-8")
    assert read_profiles(folder).keys() == {"Tim"} == read_profiles(folder / "tim.json").keys()
    for content in ("[1]", '{"Tim": 3}', "{"):
        (tmp_path / "t.json").write_text(content, encoding="utf-8")
        with pytest.raises(SourceError):
            read_profiles(tmp_path / "t.json")


def test_a_bad_profile_is_named_and_what_is_nested_in_fields_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"Ann": "a cook", "Tim": 3}', encoding="utf-8")
    with pytest.raises(SourceError, match="p.json: the profile of 'Tim' is neither text nor an object of fields"):
        read_profiles(path)
    profiles = {"Tim": {"job": "tram", "life": {"born": "York"}, "facts": [{"text": "tall"}], "tags": ["a", 1]}}
    path.write_text(json.dumps(profiles), encoding="utf-8")
    assert read_profiles(path)["Tim"].text == "job: tram\nlife: born: York\nfacts: tall\ntags: a；1"


def test_lines_without_a_profile_do_not_count_for_systems_that_leave_the_card_out(
    tiny_qwen: Path, files: tuple[Path, Path]
) -> None:
    arguments = ["--data", str(files[0]), "--model", str(tiny_qwen), "--systems", "no card", "--json"]
    found = invoke(*arguments, "--profiles", str(files[1]))
    assert {name: part["n"] for name, part in json.loads(found.stdout).items()} == {"quote": 4, "no card": 3}
    assert "1 of 3 roles have no profile (Eve): their lines (1 of 4) have no card" in found.stderr
    found = invoke(*arguments)
    assert json.loads(found.stdout)["no card"] == {"n": 0}
    assert "3 of 3 roles have no profile (Eve, Tim, 悟空)" in found.stderr


def test_a_sample_is_spread_over_the_roles_and_seeded(lines: list[Line]) -> None:
    many = [Line(str(n), "ABC"[min(n // 8, 2)], lines[0].turns, "x") for n in range(20)]
    chosen = sample(many, 7, 0)
    assert sorted(Counter(line.role for line in chosen).values()) == [2, 2, 3]
    assert chosen == sample(many, 7, 0) != sample(many, 7, 1)
    assert [int(line.id) for line in chosen] == sorted(int(line.id) for line in chosen)
    assert sample(many, None, 0) == many == sample(many, 99, 0)


@pytest.mark.parametrize("quote", [True, False])
@pytest.mark.parametrize("history", ["single", "multiple"])
def test_prompts_are_those_of_a_conversation(
    tiny_qwen: Path, files: tuple[Path, Path], lines: list[Line], quote: bool, history: Any
) -> None:
    _, tokenizer = load_model(Weights(str(tiny_qwen)))
    profile = read_profiles(files[1])["Tim"]
    turns = tuple(t.model_copy(update={"speaker": "Me"}) if t.speaker == "Ann" else t for t in lines[0].turns)
    line = Line("1", "Tim", turns, lines[0].spoken)
    name = ("quote" if quote else "no quote") + (", multiple" if history == "multiple" else "")
    written = Writer(tokenizer, 2048).write(system(name), line, profile)
    assert written
    model = ScriptedChatModel(responses=["Yes?" + '"' * quote, 'The last one."'])
    session = Conversation(model, profile.card, quote=quote, history=history)
    session.say("Hello.")
    session.say("What stop is it?")
    served = list(model.calls[-1].messages)
    prefix = 'Tim: "' if quote else "Tim:"
    served += [AIMessage(prefix)] if served[-1].type != "ai" else []
    assert tokenizer.decode(written.prompt) == tokenizer.decode(encode(tokenizer, served))
    assert tokenizer.decode(written.reply) == ('The last one."' if quote else " The last one.<|im_end|>")


def test_what_each_system_writes(tiny_qwen: Path, lines: list[Line], files: tuple[Path, Path]) -> None:
    _, tokenizer = load_model(Weights(str(tiny_qwen)))
    writer, profile = Writer(tokenizer, 2048), read_profiles(files[1])["Tim"]

    def text(name: str) -> str:
        written = writer.write(system(name), lines[1], profile)
        assert written
        return str(tokenizer.decode(written.prompt) + "|" + tokenizer.decode(written.reply))

    assert text("quote").endswith('Bo: "Late?"<|im_end|>\n<|im_start|>assistant\nTim: "|I said \'no\'."')
    assert text("no quote").endswith('Bo: Late?<|im_end|>\n<|im_start|>assistant\nTim:| I said "no".<|im_end|>')
    assert text("bare template").endswith('Bo: Late?<|im_end|>\n<|im_start|>assistant\n|I said "no".<|im_end|>')
    assert "drives a tram" in text("quote") and "drives a tram" not in text("no card")
    assert "job: drives a tram\npersonality: dry" in text("raw sources")
    novel = text("novel")
    assert "<|im_start|>" not in novel and novel.endswith('Bo: "Late?"\nTim: "|I said \'no\'."') and "tram" in novel
    assert text("novel, no card").startswith("Tim") or "tram" not in text("novel, no card")
    assert writer.write(system("raw sources"), lines[1], None) is None
    assert writer.write(system("quote"), lines[1], None)


def test_a_short_window_loses_the_oldest_turns(tiny_qwen: Path, tmp_path: Path) -> None:
    _, tokenizer = load_model(Weights(str(tiny_qwen)))
    (tmp_path / "l.jsonl").write_text(json.dumps(LONG), encoding="utf-8")
    (line,) = read_lines(tmp_path / "l.jsonl", pytest.fail)
    full = Writer(tokenizer, 4096).write(system("no card"), line, None)
    assert full and "Line 0" in tokenizer.decode(full.prompt)
    short = Writer(tokenizer, len(full.prompt) + len(full.reply) - 1).write(system("no card"), line, None)
    assert short and "Line 0" not in tokenizer.decode(short.prompt) and "Line 6" in tokenizer.decode(short.prompt)
    assert Writer(tokenizer, 40).write(system("no card"), line, None) is None
    few = Writer(tokenizer, 4096, turns=2).write(system("no card"), line, None)
    assert few and "Line 4" not in tokenizer.decode(few.prompt) and "Line 5" in tokenizer.decode(few.prompt)


@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_likelihoods_are_those_of_a_plain_pass(
    tiny_qwen: Path, lines: list[Line], files: tuple[Path, Path], kind: str
) -> None:
    name = str(tiny_qwen if kind == "folder" else gguf_of(tiny_qwen))
    profiles, chosen = read_profiles(files[1]), parse_systems("")
    found = run.evaluate(lines, profiles, chosen, Weights(name), Records(None, {}))
    net, tokenizer = load_model(Weights(name))
    writer = Writer(tokenizer, 2048)
    for one in chosen:
        for line in lines:
            written = writer.write(one, line, profiles.get(line.role))
            if written is None:
                assert line.id not in found[one.name]
                continue
            ids = torch.tensor([written.prompt + written.reply])
            with torch.inference_mode():
                losses = -net(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
            plain = float(losses[len(written.prompt) - 1 :].double().sum())
            assert found[one.name][line.id]["nats"] == pytest.approx(plain, rel=1e-4)
    assert len(found["quote"]) == 4 and len(found["raw sources"]) == 3


def test_a_card_is_computed_once_for_each_user(tiny_qwen: Path) -> None:
    """A prompt names the user before the card, and the lines of a role come in no order of its users."""
    net, _ = model = load_model(Weights(str(tiny_qwen)))
    read: list[int] = []
    net.register_forward_pre_hook(lambda _, __, given: read.append(given["input_ids"].shape[1]), with_kwargs=True)
    card = Role(name="Tim", background=["He has driven the last tram of the day through the rain. " * 9])
    profiles = {"Tim": Profile(card, "")}

    def tokens(users: str) -> int:
        lines = [
            Line(str(n), "Tim", (Turn(id="0", speaker=user, text="Late?"),), "No.") for n, user in enumerate(users)
        ]
        found = run.Model(Weights(str(tiny_qwen)), 8, pytest.fail)
        found.__dict__["_loaded"] = model
        jobs = [(line, [system("quote")]) for line in run.by_prompt(lines, 8)]
        assert found.scorer.why_plain is None
        read.clear()
        assert len(list(run._scored(found, jobs, profiles, Records(None, {}), ""))) == len(lines)
        return sum(read)

    assert tokens("ABABAB") < 2.5 * tokens("A")


def test_the_result_is_paired_with_the_base() -> None:
    def records(nats: dict[str, float]) -> dict[str, Any]:
        return {item: {"nats": value, "characters": 10} for item, value in nats.items()}

    result = summary({"quote": records({"a": 10, "b": 20, "c": 30}), "x": records({"a": 15, "b": 19}), "y": {}})
    assert result["quote"]["nats_per_char"] == 2.0 and result["quote"]["difference"] == 0.0
    x = result["x"]
    assert (x["n"], x["nats_per_char"], x["difference"], x["worse"], x["base"]) == (2, 1.7, 0.2, 1, 1.5)
    assert x["ci95"][0] <= x["difference"] <= x["ci95"][1] and result["y"] == {"n": 0}


def test_the_command_prints_json_and_resumes(
    tiny_qwen: Path, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--data", str(files[0]), "--profiles", str(files[1]), "--model", str(tiny_qwen), "--json",
                 "--records", str(tmp_path / "r.jsonl")]  # fmt: skip
    found = invoke(*arguments)
    assert found.exit_code == 0, found.output
    first = json.loads(found.stdout)
    for of in first.values():
        assert {"n", "nats_per_char", "difference", "ci95"} <= of.keys()
    assert first.keys() == {s.name for s in parse_systems("")} and first["raw sources"]["n"] == 3
    whole = (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "r.jsonl").write_text("".join(whole[:9]) + '{"half', encoding="utf-8")
    assert json.loads(invoke(*arguments).stdout) == first
    monkeypatch.setattr(run, "load_model", lambda weights: pytest.fail("everything is recorded"))
    assert json.loads(invoke(*arguments).stdout) == first


def test_cards_and_scenes_that_the_model_writes(files: tuple[Path, Path], tmp_path: Path) -> None:
    files[0].write_text(json.dumps(LONG), encoding="utf-8")
    path = tmp_path / "r.jsonl"
    found = invoke(
        "--data", str(files[0]), "--profiles", str(files[1]), "--systems", "all", "--records", str(path), "--json"
    )
    assert found.exit_code == 0, found.output
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    scenes = next(r for r in records if r["who"] == run.SCENES)["scenes"]
    assert scenes and all(set(ids) <= {"0", "1", "2"} for _, ids, _ in scenes)  # the last four turns stay
    assert json.loads(found.stdout)["scenes"]["n"] == 1
    assert any(r["who"] == run.CARD for r in records)


def test_unknown_systems_and_files_are_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(SettingsError, match="there is no system quotes"):
        parse_systems("quotes")
    assert [s.name for s in parse_systems("no card")] == ["quote", "no card"]
    with pytest.raises(SourceError, match="cannot be read"):
        read_lines(files[0].parent / "none.jsonl", pytest.fail)


NOVEL = """
“Good evening,” said Ada. “You’re late.”

“The fog,” I answered.

“It was there this morning!” cried Mr. Bell, who came in.

“Sit down.”

“I will,” said Ada, “if Bell does.”

The word “fog” was not spoken again.

Nobody said a thing for a while.

Then it was night.

It rained.

“Who’s there?” asked Bell.
"""


def test_a_novel_gives_the_lines_that_it_attributes(tmp_path: Path) -> None:
    path = tmp_path / "novel.txt"
    path.write_text("\n\n".join([NOVEL.strip()] * 5), encoding="utf-8")
    lines = read_novel(path)
    assert Counter(line.role for line in lines)["Ada"] >= 5
    line = next(line for line in lines if line.spoken == "I will, if Bell does.")
    assert [(turn.speaker, turn.text) for turn in line.turns][-4:] == [
        ("Ada", "Good evening. You’re late."),
        ("Me", "The fog."),
        ("Bell", "It was there this morning!"),
        ("Me", "Sit down."),  # nobody is named: who spoke before last
    ]
    assert not any(turn.text == "fog" for line in lines for turn in line.turns)
    # After a gap nothing is known of what led to a line.
    assert not any(line.spoken == "Who’s there?" for line in lines)
    path.write_text("No speech.", encoding="utf-8")
    with pytest.raises(SourceError, match="names no speaker of 5 lines"):
        read_novel(path)


def test_the_real_lines_are_read(shared_data: Path) -> None:
    notes: list[str] = []
    lines = read_lines(shared_data / "nextline" / "nextline.zh.jsonl", notes.append)
    profiles = read_profiles(shared_data / "nextline" / "profiles.zh.json")
    assert len(lines) == 1290 and len(notes) == 1 and {line.role for line in lines} == profiles.keys()
    assert {line.role for line in read_novel(shared_data / "texts" / "gatsby.txt")} >= {"Gatsby", "Daisy", "Tom"}


def test_pocket_reads_its_own_prompts(lines: list[Line]) -> None:
    model = run.Model(Weights("pocket"), 8, pytest.fail)
    written = model.writer.write(system("no card"), lines[3], None)
    from egosrag.prompts import load

    opening = load("generate", "en", "pocket").messages(name="Eve", user="Bo", card="", conversation="x")[0].text
    assert written and str(opening).strip()[:40] in model.writer.tokenizer.decode(written.prompt)
    assert encode_text(model.writer.tokenizer, 'Eve."') == written.reply
