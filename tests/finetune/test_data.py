"""Rows of every file format and shape become the tokens that serving would send, with labels at the answers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from egosrag.errors import TrainingError
from egosrag.prompts.encode import encode
from finetune.data.dataset import TrainingData, load_data
from finetune.data.tokenization import IGNORED, StopTokens
from finetune.trainer.model import load_tokenizer_and_stops
from tests.finetune.conftest import alpaca, roleplay, write_jsonl

Make = Callable[..., Any]


def load(args: Any) -> tuple[TrainingData, Any, StopTokens]:
    """The training data of some settings, the tokenizer and the stop tokens."""
    tokenizer, stops = load_tokenizer_and_stops(args)
    return load_data(args, tokenizer, stops), tokenizer, stops


def labelled_text(row: dict[str, list[int]], tokenizer: Any) -> str:
    """The tokens of a row that have a loss, as text."""
    return tokenizer.decode([label for label in row["labels"] if label != IGNORED])


def write_every_format(folder: Path, rows: list[dict[str, str]]) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "a.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    (folder / "b.json").write_text(json.dumps({"version": 1, "data": rows}), encoding="utf-8")
    write_jsonl(folder / "c.jsonl", rows)
    with (folder / "d.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    pq.write_table(pa.Table.from_pylist(rows), folder / "e.parquet")
    return sorted(folder.iterdir())


def test_every_format_gives_the_same_rows(settings: Make, tmp_path: Path) -> None:
    folder = tmp_path / "formats"
    folder.mkdir()
    files = write_every_format(folder, alpaca(6))
    hashes = {load(settings(data=[str(file)]))[0].sha256 for file in files}
    assert len(files) == 5 and len(hashes) == 1


def test_a_prompt_is_what_serving_sends_and_only_the_answer_and_its_stop_token_have_labels(settings: Make) -> None:
    data, tokenizer, stops = load(settings(system="Be kind."))
    row = data.rows[1]
    served = encode(tokenizer, [SystemMessage("Be kind."), HumanMessage("Count to two.\nSlowly.")])
    assert row["input_ids"][: len(served)] == served
    assert set(row["labels"][: len(served)]) == {IGNORED}
    assert labelled_text(row, tokenizer) == "one, two<|im_end|>" and row["labels"][-1] == stops.turn


def test_without_the_template_end_of_text_is_the_stop_token(settings: Make) -> None:
    data, tokenizer, stops = load(settings(template=False))
    row = data.rows[1]
    assert tokenizer.decode(row["input_ids"]) == "Count to two.\nSlowly.\none, two<|endoftext|>"
    assert stops.turn == stops.text == row["labels"][-1]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "gpt", "value": "Hi"}, {"from": "human", "value": "A"},
                           {"from": "gpt", "value": "B"}, {"from": "human", "value": "C"},
                           {"from": "gpt", "value": "D"}, {"from": "human", "value": "E"}]},
        {"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"},
                      {"role": "user", "content": "C"}, {"role": "assistant", "content": "D"}]},
    ],
)  # fmt: skip
def test_every_reply_of_a_conversation_has_labels(settings: Make, tmp_path: Path, row: dict[str, Any]) -> None:
    data, tokenizer, _ = load(settings(data=[str(write_jsonl(tmp_path / "c.jsonl", [row]))]))
    (one,) = data.rows
    assert labelled_text(one, tokenizer) == "B<|im_end|>D<|im_end|>"
    whole = encode(tokenizer, [HumanMessage("A"), AIMessage("B"), HumanMessage("C")])
    assert one["input_ids"][: len(whole)] == whole


def test_all_tokens_of_a_text_have_labels_in_windows_of_max_length(settings: Make, tmp_path: Path) -> None:
    file = tmp_path / "story.txt"
    file.write_text("Tim said: “是的。” " * 40, encoding="utf-8")
    data, tokenizer, stops = load(settings(data=[str(file)], max_length=64, shape="text"))
    assert stops.turn == stops.text  # no reply is trained, so there is no other stop token
    assert all(row["labels"] == row["input_ids"] and len(row["input_ids"]) <= 64 for row in data.rows)
    assert data.rows[-1]["input_ids"][-1] == stops.text and len(data.rows) > 3
    text = "".join(tokenizer.decode(row["input_ids"]) for row in data.rows)
    assert text == file.read_text(encoding="utf-8") + "<|endoftext|>"


def test_special_tokens_in_the_data_stay_text(settings: Make, tmp_path: Path) -> None:
    row = {"instruction": "Say <|im_end|>", "output": "<|im_start|>system"}
    data, tokenizer, stops = load(settings(data=[str(write_jsonl(tmp_path / "x.jsonl", [row]))]))
    (one,) = data.rows
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert one["input_ids"].count(start) == 3 and one["labels"].count(stops.turn) == 1
    assert labelled_text(one, tokenizer) == "<|im_start|>system<|im_end|>"


GOOD = '{"instruction": "a", "output": "b"}'
BAD = [GOOD, "{nope", '["a"]', '{"instruction": "a", "output": ""}', '{"instruction": 3}']


def test_bad_rows_are_skipped_and_counted_by_location(settings: Make, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text("\n".join(BAD), encoding="utf-8")
    counts = load(settings(data=[str(file)]))[0].counts
    assert (counts.rows, counts.examples) == (5, 1)
    assert [problem.split(": ")[0] for problem in counts.skipped] == [f"bad.jsonl:{n}" for n in (2, 3, 4, 5)]
    with pytest.raises(TrainingError, match=r"bad\.jsonl:2: not JSON .*--bad_rows skip"):
        load(settings(data=[str(file)], bad_rows="fatal"))


def test_locations_in_json_and_csv_are_the_line_numbers_of_the_file(settings: Make, tmp_path: Path) -> None:
    rows = [{"instruction": "a\nb", "output": "c"}, {"instruction": "", "output": "d"}]
    (tmp_path / "r.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    (tmp_path / "r.csv").write_text('instruction,output\n"a\nb",c\n,d\n', encoding="utf-8")
    for name, line in (("r.json", 6), ("r.csv", 4)):
        counts = load(settings(data=[str(tmp_path / name)]))[0].counts
        assert counts.skipped == [f"{name}:{line}: instruction is empty"]


def test_an_object_with_the_columns_of_a_row_is_a_row(settings: Make, tmp_path: Path) -> None:
    rows = [roleplay(1)[0], {"conversations": [{"from": "human", "value": "A"}, {"from": "gpt", "value": "B"}]}]
    for row, examples in zip(rows, (2, 1), strict=True):
        (tmp_path / "one.json").write_text(json.dumps(row), encoding="utf-8")
        counts = load(settings(data=[str(tmp_path / "one.json")]))[0].counts
        assert (counts.rows, counts.examples, counts.max_turns) == (1, examples, 1)


def test_the_first_row_does_not_decide_for_the_others(settings: Make, tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]}
    rows = [{}, {"_comment": "mine"}, *alpaca(2), {"instruction": "a"}, chat, {"instruction": "a"}]
    counts = load(settings(data=[str(write_jsonl(tmp_path / "r.jsonl", rows))]))[0].counts
    assert counts.examples == 3 and [problem.split(",")[0] for problem in counts.skipped] == [
        "r.jsonl:1: has the columns none",
        "r.jsonl:2: has the columns _comment",
        "r.jsonl:5: output is missing",
        "r.jsonl:7: has the columns instruction",
    ]
    with pytest.raises(TrainingError, match=r"s\.jsonl has the columns a, but rows need"):
        load(settings(data=[str(write_jsonl(tmp_path / "s.jsonl", [{"a": "b"}] * 120))]))


def test_texts_beside_files_of_rows_are_named_and_not_learned(settings: Make, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "LICENSE.txt").write_text("MIT", encoding="utf-8")
    (folder / "dataset_info.json").write_text('{"splits": {}}', encoding="utf-8")
    write_jsonl(folder / "train.jsonl", alpaca(3))
    counts = load(settings(data=[str(folder)]))[0].counts
    assert counts.examples == 3 and [problem.split(":")[0] for problem in counts.skipped] == [
        "LICENSE.txt",
        "dataset_info.json row 1",
    ]


@pytest.mark.parametrize("line", ['{"instruction": "a", "output": %s}' % ("9" * 5000), "[" * 100_000])
def test_numbers_and_nesting_that_python_refuses_are_bad_rows(settings: Make, tmp_path: Path, line: str) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(f"{line}\n{GOOD}", encoding="utf-8")
    assert load(settings(data=[str(file)]))[0].counts.skipped[0].startswith("r.jsonl:1: not JSON (")
    (tmp_path / "r.json").write_text(line, encoding="utf-8")
    with pytest.raises(TrainingError, match=r"r\.json is not JSON \([^\n]+\)$"):
        load(settings(data=[str(tmp_path / "r.json")]))


def test_a_csv_line_with_a_quotation_mark_too_many_takes_no_other_with_it(settings: Make, tmp_path: Path) -> None:
    good = "".join(f"a{n},b\n" for n in range(50))
    (tmp_path / "r.csv").write_text(f'instruction,output\n{good}"open,b\n{good}"e"x,f\n"a\nb",c\nd\n', encoding="utf-8")
    counts = load(settings(data=[str(tmp_path / "r.csv")]))[0].counts
    assert counts.examples == 101 and [problem.split(" (")[0] for problem in counts.skipped] == [
        "r.csv:52: not CSV",
        "r.csv:103: not CSV",
        "r.csv:106: wrong number of cells",
    ]


def test_an_array_in_a_file_for_lines_is_named(settings: Make, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(alpaca(2), indent=1), encoding="utf-8")
    with pytest.raises(TrainingError, match=r"a\.jsonl is one JSON array .*rename it to \.json"):
        load(settings(data=[str(tmp_path / "a.jsonl")]))


def test_an_over_long_row_is_truncated_in_the_question_and_keeps_template_tokens_and_answer(
    settings: Make, tmp_path: Path
) -> None:
    row = {"instruction": "\n".join(f"line {n} is long" for n in range(20_000)), "output": "yes", "system": "Be kind."}
    data, tokenizer, stops = load(settings(data=[str(write_jsonl(tmp_path / "l.jsonl", [row]))], max_length=120))
    (one,) = data.rows
    text = tokenizer.decode(one["input_ids"])
    assert data.counts.truncated == 1 and 80 < len(one["input_ids"]) <= 120
    assert text.startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nline 1")
    assert text.endswith("line 19999 is long<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>")


def test_an_over_long_conversation_loses_its_oldest_turns_first(settings: Make, tmp_path: Path) -> None:
    turns = [{"role": role, "content": f"{role} {n} " * 5} for n in range(9) for role in ("user", "assistant")]
    file = write_jsonl(tmp_path / "m.jsonl", [{"messages": [{"role": "system", "content": "S"}, *turns]}])
    data, tokenizer, _ = load(settings(data=[str(file)], max_length=200))
    text = tokenizer.decode(data.rows[0]["input_ids"])
    assert text.startswith("<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nuser ") and "user 0" not in text
    assert data.counts.truncated == 1 and len(data.rows[0]["input_ids"]) <= 200


def test_an_answer_that_does_not_fit_is_a_bad_row(settings: Make, tmp_path: Path) -> None:
    rows = [{"instruction": "a", "output": "word " * 100_000}, {"instruction": "a", "output": "b"}]
    counts = load(settings(data=[str(write_jsonl(tmp_path / "a.jsonl", rows))]))[0].counts
    assert counts.examples == 1 and "leave no space for the prompt in max_length 512" in counts.skipped[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "there is no data file"),
        ("empty.jsonl", "", "no usable row out of 0"),
        ("cols.jsonl", '{"question": "a", "output": "b"}', "has the columns output, question, but rows need"),
        ("pack.zip", "PK", "is none of .json, .jsonl"),
        ("broken.json", "[{]", "is not JSON (line 1"),
        ("lines.json", '{"a": 1}\n{"a": 2}', "rename it to .jsonl"),
        ("fake.parquet", "PAR", "is not Parquet, or damaged"),
    ],
)
def test_unusable_data_is_reported_in_one_line(
    settings: Make, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(TrainingError) as error:
        load(settings(data=[str(path)]))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_hub_data_set_is_reported_in_one_line(settings: Make) -> None:
    with pytest.raises(TrainingError, match=r"no/such \(split train\) is neither a file nor a hub data set: [^\n]+$"):
        load(settings(data=["no/such"]))


def test_a_wrong_encoding_is_reported_in_one_line(settings: Make, tmp_path: Path) -> None:
    (tmp_path / "gbk.jsonl").write_bytes('{"instruction": "你好", "output": "好"}'.encode("gbk"))
    with pytest.raises(TrainingError, match=r"is not UTF-8 .* convert"):
        load(settings(data=[str(tmp_path / "gbk.jsonl")]))
    (tmp_path / "u.json").write_text(json.dumps(alpaca(1)), encoding="utf-16")
    with pytest.raises(TrainingError, match=r"is not UTF-8 .* convert"):
        load(settings(data=[str(tmp_path / "u.json")]))
