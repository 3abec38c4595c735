"""Rows in every format and shape become the tokens that serving would send, and labels where something is learned."""

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
from finetune.data import dataset as data
from finetune.trainer.model import reader
from tests.finetune.conftest import alpaca, write_jsonl

Make = Callable[..., Any]


def built(args: Any) -> tuple[data.Data, Any, data.Stops]:
    tokenizer, stops = reader(args)
    return data.load(args, tokenizer, stops), tokenizer, stops


def learned(row: dict[str, list[int]], tokenizer: Any) -> str:
    return tokenizer.decode([label for label in row["labels"] if label != -100])


def write_all(folder: Path, rows: list[dict[str, str]]) -> list[Path]:
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
    files = write_all(folder, alpaca(6))
    hashes = {built(settings(data=[str(file)]))[0].sha256 for file in files}
    assert len(files) == 5 and len(hashes) == 1


def test_a_prompt_is_what_serving_sends_and_only_the_answer_and_its_stop_are_learned(settings: Make) -> None:
    found, tokenizer, stops = built(settings(system="Be kind."))
    row = found.rows[1]
    served = encode(tokenizer, [SystemMessage("Be kind."), HumanMessage("Count to two.\nSlowly.")])
    assert row["input_ids"][: len(served)] == served
    assert set(row["labels"][: len(served)]) == {-100}
    assert learned(row, tokenizer) == "one, two<|im_end|>" and row["labels"][-1] == stops.turn


def test_without_the_template_end_of_text_is_the_stop(settings: Make) -> None:
    found, tokenizer, stops = built(settings(template=False))
    row = found.rows[1]
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
def test_every_reply_of_a_conversation_is_learned(settings: Make, tmp_path: Path, row: dict[str, Any]) -> None:
    found, tokenizer, _ = built(settings(data=[str(write_jsonl(tmp_path / "c.jsonl", [row]))]))
    (one,) = found.rows
    assert learned(one, tokenizer) == "B<|im_end|>D<|im_end|>"
    whole = encode(tokenizer, [HumanMessage("A"), AIMessage("B"), HumanMessage("C")])
    assert one["input_ids"][: len(whole)] == whole


def test_text_is_learned_whole_in_windows(settings: Make, tmp_path: Path) -> None:
    file = tmp_path / "story.txt"
    file.write_text("Tim said: “是的。” " * 40, encoding="utf-8")
    found, tokenizer, stops = built(settings(data=[str(file)], max_length=64, shape="text"))
    assert stops.turn == stops.text  # no reply is learned, so no other stop is declared
    assert all(row["labels"] == row["input_ids"] and len(row["input_ids"]) <= 64 for row in found.rows)
    assert found.rows[-1]["input_ids"][-1] == stops.text and len(found.rows) > 3
    text = "".join(tokenizer.decode(row["input_ids"]) for row in found.rows)
    assert text == file.read_text(encoding="utf-8") + "<|endoftext|>"


def test_special_tokens_in_the_data_stay_text(settings: Make, tmp_path: Path) -> None:
    row = {"instruction": "Say <|im_end|>", "output": "<|im_start|>system"}
    found, tokenizer, stops = built(settings(data=[str(write_jsonl(tmp_path / "x.jsonl", [row]))]))
    (one,) = found.rows
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert one["input_ids"].count(start) == 3 and one["labels"].count(stops.turn) == 1
    assert learned(one, tokenizer) == "<|im_start|>system<|im_end|>"


GOOD = '{"instruction": "a", "output": "b"}'
BAD = [GOOD, "{nope", '["a"]', '{"instruction": "a", "output": ""}', '{"instruction": 3}']


def test_bad_rows_are_skipped_counted_and_named_by_line(settings: Make, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text("\n".join(BAD), encoding="utf-8")
    counts = built(settings(data=[str(file)]))[0].counts
    assert (counts.rows, counts.examples) == (5, 1)
    assert [problem.split(": ")[0] for problem in counts.bad] == [f"bad.jsonl:{n}" for n in (2, 3, 4, 5)]
    with pytest.raises(TrainingError, match=r"bad\.jsonl:2: not JSON .*--bad_rows skip"):
        built(settings(data=[str(file)], bad_rows="fatal"))


def test_lines_of_json_and_csv_are_the_file_s_own(settings: Make, tmp_path: Path) -> None:
    rows = [{"instruction": "a\nb", "output": "c"}, {"instruction": "", "output": "d"}]
    (tmp_path / "r.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    (tmp_path / "r.csv").write_text('instruction,output\n"a\nb",c\n,d\n', encoding="utf-8")
    for name, line in (("r.json", 6), ("r.csv", 4)):
        counts = built(settings(data=[str(tmp_path / name)]))[0].counts
        assert counts.bad == [f"{name}:{line}: instruction is empty"]


def test_an_over_long_row_loses_its_oldest_prompt_and_keeps_marks_and_answer(settings: Make, tmp_path: Path) -> None:
    row = {"instruction": "\n".join(f"line {n} is long" for n in range(20_000)), "output": "yes", "system": "Be kind."}
    found, tokenizer, stops = built(settings(data=[str(write_jsonl(tmp_path / "l.jsonl", [row]))], max_length=120))
    (one,) = found.rows
    text = tokenizer.decode(one["input_ids"])
    assert found.counts.truncated == 1 and 80 < len(one["input_ids"]) <= 120
    assert text.startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nline 1")
    assert text.endswith("line 19999 is long<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>")


def test_an_over_long_conversation_loses_whole_turns_first(settings: Make, tmp_path: Path) -> None:
    turns = [{"role": role, "content": f"{role} {n} " * 5} for n in range(9) for role in ("user", "assistant")]
    file = write_jsonl(tmp_path / "m.jsonl", [{"messages": [{"role": "system", "content": "S"}, *turns]}])
    found, tokenizer, _ = built(settings(data=[str(file)], max_length=200))
    text = tokenizer.decode(found.rows[0]["input_ids"])
    assert text.startswith("<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nuser ") and "user 0" not in text
    assert found.counts.truncated == 1 and len(found.rows[0]["input_ids"]) <= 200


def test_an_answer_that_does_not_fit_is_a_bad_row(settings: Make, tmp_path: Path) -> None:
    rows = [{"instruction": "a", "output": "word " * 100_000}, {"instruction": "a", "output": "b"}]
    counts = built(settings(data=[str(write_jsonl(tmp_path / "a.jsonl", rows))]))[0].counts
    assert counts.examples == 1 and "leave the prompt no room in max_length 512" in counts.bad[0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
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
def test_unusable_data_is_one_line(settings: Make, tmp_path: Path, name: str, content: str | None, said: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(TrainingError) as error:
        built(settings(data=[str(path)]))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_no_such_hub_data_set_is_one_line(settings: Make) -> None:
    with pytest.raises(TrainingError, match=r"no/such \(split train\) is neither a file nor a hub data set: [^\n]+$"):
        built(settings(data=["no/such"]))


def test_wrong_encoding_is_one_line(settings: Make, tmp_path: Path) -> None:
    (tmp_path / "gbk.jsonl").write_bytes('{"instruction": "你好", "output": "好"}'.encode("gbk"))
    with pytest.raises(TrainingError, match=r"is not UTF-8 .* convert"):
        built(settings(data=[str(tmp_path / "gbk.jsonl")]))
