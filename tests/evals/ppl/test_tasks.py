"""The option strings are exactly OpenCompass's (or lm-eval's), for rows of files and of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import SettingsError, SourceError
from evals.ppl.tasks import Item, load_task, task_of


def load(folder: Path, task: str, *rows: dict[str, Any], prompts: str = "opencompass") -> list[Item]:
    path = folder / f"{task}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load_task(task, str(path), prompts=prompts)


ARC = {"query": "Question: What do plants need?", "choices": ["light", "salt"], "gold": 0}
HELLASWAG = {"ctx": "Tea: A man boils water. he", "endings": ["pours it.", "eats it."], "label": 0}
BOOLQ = {"query": "Passage: Ice floats.\nQuestion: does ice sink?", "choices": ["no", "yes"], "gold": 0}
WINO = {
    "context_options": ["Ann thanked Eve as Ann", "Ann thanked Eve as Eve"],
    "continuation": "had helped.",
    "gold": 1,
}

TEXTS = [
    ("arc_easy", ARC, "opencompass", "Question: What do plants need?\nAnswer: \nlight"),
    ("arc_challenge", ARC, "lm-eval", "Question: What do plants need?\nAnswer: light"),
    ("hellaswag", HELLASWAG, "opencompass", "A man boils water. he\npours it."),
    ("hellaswag", HELLASWAG, "lm-eval", "Tea: A man boils water. he pours it."),
    ("boolq", BOOLQ, "opencompass", "Ice floats.\nQuestion: does ice sink?\nNo"),
    ("boolq", BOOLQ, "lm-eval", "Ice floats.\nQuestion: does ice sink?\nAnswer: no"),
    ("winogrande", WINO, "opencompass", "Ann thanked Eve as Ann had helped."),
    ("winogrande", WINO, "lm-eval", "Ann thanked Eve as Ann had helped."),
]


@pytest.mark.parametrize(("task", "row", "prompts", "text"), TEXTS)
def test_the_first_option_as_a_string(tmp_path: Path, task: str, row: dict[str, Any], prompts: str, text: str) -> None:
    (item,) = load(tmp_path, task, row, prompts=prompts)
    assert item.texts()[0] == text
    assert item.suffix == (task == "winogrande")


HUB_ARC = {
    "question": "What do plants need?",
    "choices": {"text": ["light", "salt"], "label": ["1", "2"]},
    "answerKey": "1",
}
HUB_HELLASWAG = {
    "activity_label": "Tea",
    "ctx_a": "A man boils water.",
    "ctx_b": "he",
    "ctx": "A man boils water. he",
    "endings": ["pours it.", "eats [step] it."],
    "label": "0",
}
HUB_BOOLQ = {"passage": "Ice floats.", "question": "does ice sink", "answer": False}
HUB_WINO = {"sentence": "Ann thanked Eve as _ had helped.", "option1": "Ann", "option2": "Eve", "answer": "2"}
HUB = [
    ("arc_easy", ARC, HUB_ARC),
    ("hellaswag", HELLASWAG | {"ctx": "Tea: A man boils water. He"}, HUB_HELLASWAG),
    ("boolq", BOOLQ, HUB_BOOLQ),
    ("winogrande", WINO, HUB_WINO),
]


@pytest.mark.parametrize("prompts", ["opencompass", "lm-eval"])
@pytest.mark.parametrize(("task", "row", "hub"), HUB)
def test_rows_of_the_hub_and_of_a_file_give_the_same_item(
    tmp_path: Path, task: str, row: dict[str, Any], hub: dict[str, Any], prompts: str
) -> None:
    (ours,) = load(tmp_path, task, row, prompts=prompts)
    (theirs,) = load(tmp_path, task, hub, prompts=prompts)
    assert theirs.texts() == ours.texts()
    assert theirs.gold == ours.gold


def test_the_right_split_is_loaded_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*args: str, split: str) -> list[dict[str, Any]]:
        asked.append((*args, split))
        return [HUB_ARC]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    assert load_task("arc-c", "hub")[0].gold == 0
    assert asked == [("allenai/ai2_arc", "ARC-Challenge", "test")]


def test_hellaswag_drops_the_activity_as_opencompass_does(tmp_path: Path) -> None:
    (item,) = load(tmp_path, "hellaswag", HELLASWAG | {"ctx": "How to brew: Step one: Boil: then"})
    assert item.contexts[0] == "Boil: then\n"


def test_a_full_stop_follows_a_filled_blank_without_a_space(tmp_path: Path) -> None:
    (item,) = load(tmp_path, "winogrande", WINO | {"continuation": "."})
    assert item.texts() == ["Ann thanked Eve as Ann.", "Ann thanked Eve as Eve."]


def make_mmlu(folder: Path, subjects: dict[str, int], *, header: bool = True, letters: bool = False) -> Path:
    for part, rows in (("dev", 5), ("test", 0)):
        (folder / part).mkdir(parents=True)
        for subject, n in subjects.items():
            lines = ["question,choice0,choice1,choice2,choice3,answer"] if header else []
            lines += [f'"Q{k}, {part}?",w,x,y,z,{"ABCD"[k % 4] if letters else k % 4}' for k in range(rows or n)]
            (folder / part / f"{subject}_{part}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_mmlu_is_five_shot_with_opencompass_header(tmp_path: Path) -> None:
    item = load_task("mmlu", str(make_mmlu(tmp_path / "m", {"high_school_physics": 3})))[1]
    shots = "".join(f"Q{k}, dev?\nA. w\nB. x\nC. y\nD. z\nAnswer: {'ABCD'[k % 4]}\n\n" for k in range(5))
    head = "The following are multiple choice questions (with answers) about  high school physics.\n\n"
    assert item.texts()[2] == head + shots + "Q1, test?\nA. w\nB. x\nC. y\nD. z\nAnswer: C"
    assert (item.group, item.gold, item.choices) == ("high_school_physics", 1, ("A", "B", "C", "D"))


def test_mmlu_in_lm_evals_wording_has_one_space_in_the_header(tmp_path: Path) -> None:
    item = load_task("mmlu", str(make_mmlu(tmp_path / "m", {"anatomy": 1})), prompts="lm-eval")[0]
    assert item.head == "The following are multiple choice questions (with answers) about anatomy.\n\n"


def test_mmlu_files_may_have_letters_and_no_header(tmp_path: Path) -> None:
    plain = load_task("mmlu", str(make_mmlu(tmp_path / "a", {"anatomy": 4})))
    assert load_task("mmlu", str(make_mmlu(tmp_path / "b", {"anatomy": 4}, header=False, letters=True))) == plain


def test_a_limit_selects_the_first_rows_and_spreads_mmlu_over_the_subjects(tmp_path: Path) -> None:
    source = str(make_mmlu(tmp_path / "m", {"anatomy": 9, "law": 2, "virology": 9}))
    assert [item.group for item in load_task("mmlu", source, limit=7)] == ["anatomy"] * 3 + ["law"] * 2 + [
        "virology"
    ] * 2
    path = tmp_path / "arc.jsonl"
    path.write_text(f"{json.dumps(ARC)}\n" * 9, encoding="utf-8")
    assert [item.row for item in load_task("arc_easy", str(path), limit=2)] == [0, 1]


def test_task_names() -> None:
    assert [task_of(n) for n in ("arc-e", "ARC_C", "MMLU", "arc_easy")] == [
        "arc_easy",
        "arc_challenge",
        "mmlu",
        "arc_easy",
    ]
    with pytest.raises(SettingsError, match="there is no task piqa"):
        task_of("piqa")


BAD = [
    ("", "has no rows"),
    ("{nope", "line 1 is not JSON"),
    ('{"query": "Question: a"}', "row 1 is not a row of arc_easy"),
    ('{"query": "Question: a", "choices": ["x"], "gold": 3}', "row 1 has no option 3"),
    ("[1]", "line 1 is not a JSON object"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_malformed_data_is_an_error_that_names_the_row(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SourceError, match=message) as error:
        load_task("arc_easy", str(path))
    assert "\n" not in str(error.value)


def test_missing_files_and_missing_shots(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        load_task("boolq", str(tmp_path / "none.jsonl"))
    with pytest.raises(SourceError, match="has no dev/SUBJECT_dev.csv"):
        load_task("mmlu", str(tmp_path))
    source = make_mmlu(tmp_path / "m", {"anatomy": 2})
    (source / "dev" / "anatomy_dev.csv").write_text("a,b,c,d,e,0\n", encoding="utf-8")
    with pytest.raises(SourceError, match="anatomy has 1 of the 5"):
        load_task("mmlu", str(source))


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("arc_easy", ARC | {"choices": "wxyz"}),
        ("arc_easy", ARC | {"choices": ["w", 3]}),
        ("arc_easy", {"question": "Q", "choices": {"text": "wxyz", "label": ["A", "B"]}, "answerKey": "A"}),
        ("arc_easy", {"question": "Q", "choices": {"text": ["w", "x"], "label": "AB"}, "answerKey": "A"}),
        ("hellaswag", HELLASWAG | {"endings": "wxyz"}),
        ("hellaswag", HELLASWAG | {"endings": {"w": "x"}}),
        ("winogrande", WINO | {"context_options": "wx"}),
        ("boolq", BOOLQ | {"choices": "no"}),
        ("boolq", {"query": ["Q"], "choices": ["no", "yes"], "gold": 0}),
    ],
)
@pytest.mark.parametrize("prompts", ["opencompass", "lm-eval"])
def test_options_that_are_no_list_of_texts_are_refused(
    tmp_path: Path, task: str, row: dict[str, Any], prompts: str
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(SourceError, match=f"row 1 is not a row of {task}"):
        load_task(task, str(path), prompts=prompts)


@pytest.mark.parametrize("prompts", ["opencompass", "lm-eval"])
@pytest.mark.parametrize(
    ("change", "gold"),
    [
        ({"choices": ["yes", "no"], "gold": 0}, "yes"),
        ({"choices": ["Yes", "No"], "gold": "1"}, "no"),
        ({"choices": ["yes", "no"], "gold": True}, "yes"),
        ({"choices": ["no", "yes"], "gold": 1.0}, "yes"),
        ({"gold": 1}, "yes"),
    ],
)
def test_the_choices_of_a_boolq_row_say_what_its_gold_means(
    tmp_path: Path, change: dict[str, Any], gold: str, prompts: str
) -> None:
    hub = HUB_BOOLQ | {"answer": change["gold"]} | {k: v for k, v in change.items() if k == "choices"}
    for row in ({"query": BOOLQ["query"], **change}, hub):
        (item,) = load(tmp_path, "boolq", row, prompts=prompts)
        assert [choice.lower() for choice in item.choices] == ["no", "yes"] and item.choices[item.gold].lower() == gold


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("arc_easy", HUB_ARC | {"question": None}),
        ("arc_easy", HUB_ARC | {"question": 5}),
        ("arc_easy", HUB_ARC | {"answerKey": "3"}),
        ("boolq", HUB_BOOLQ | {"passage": None}),
        ("boolq", HUB_BOOLQ | {"question": None}),
        ("boolq", HUB_BOOLQ | {"answer": None}),
        ("boolq", BOOLQ | {"choices": ["no", "yes", "maybe"]}),
        ("boolq", BOOLQ | {"choices": ["true", "false"]}),
        ("boolq", BOOLQ | {"gold": -1}),
        ("hellaswag", HUB_HELLASWAG | {"activity_label": None}),
        ("hellaswag", HUB_HELLASWAG | {"ctx_a": None}),
        ("hellaswag", HELLASWAG | {"ctx": None}),
        ("winogrande", HUB_WINO | {"option1": None}),
        *(("arc_easy", ARC | {"gold": gold}) for gold in (0.7, True, None, "B", "light", float("inf"), float("nan"))),
        *(("hellaswag", HELLASWAG | {"label": label}) for label in (0.7, False, "", float("inf"))),
        *(("winogrande", WINO | {"gold": gold}) for gold in (0.7, True)),
        *(("winogrande", HUB_WINO | {"answer": answer}) for answer in (1.7, True, "Ann")),
    ],
)
def test_a_question_that_is_no_text_and_an_answer_that_is_no_index_are_refused(
    tmp_path: Path, task: str, row: dict[str, Any]
) -> None:
    with pytest.raises(SourceError, match=f"row 1 is not a row of {task}"):
        load(tmp_path, task, row)


def test_a_row_of_mmlu_on_the_hub_that_is_no_question_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"subject": "law", "question": "Q", "choices": list("wxyz"), "answer": 0}] * 5
    monkeypatch.setattr("datasets.load_dataset", lambda *a, **k: rows)
    assert len(load_task("mmlu", "hub")) == 5
    for bad in ({"question": None}, {"choices": ["w"]}, {"answer": 4}, {"answer": -1}, {"answer": "A"}):
        monkeypatch.setattr("datasets.load_dataset", lambda *a, bad=bad, **k: [*rows, rows[0] | bad])
        with pytest.raises(SourceError, match="hub's mmlu: row 6 of dev is not a question"):
            load_task("mmlu", "hub")


COUNTS = {"hellaswag": 10042, "arc_easy": 2376, "arc_challenge": 1172, "winogrande": 1267, "boolq": 3270, "mmlu": 14042}


@pytest.mark.parametrize(("task", "count"), COUNTS.items())
def test_all_real_rows_are_read(shared_data: Path, task: str, count: int) -> None:
    source = shared_data / "ppl" / (task if task == "mmlu" else f"{task}.jsonl")
    items = load_task(task, str(source))
    assert len(items) == count
    assert len({item.row for item in items}) == count
    if task == "mmlu":
        assert len({item.group for item in items}) == 57
        assert all(len(item.shots) == 5 for item in items)
