"""CSV and TSV: scripts become lines of dialogue, other tables rows, in every encoding that they are saved in."""

from __future__ import annotations

from pathlib import Path

import pytest

from egosrag.errors import SourceError
from egosrag.rag.documents.load import read_text


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("s.csv", 'id,Character,Line\n1,Tim,"Hello, Ann.\nCome in."\n2,Ann,\n3,Ann,Hi.\n', 
         "Tim: Hello, Ann. Come in.\nAnn: Hi."),
        ("s.tsv", "角色\t台词\n悟空\t师父莫怕。\n八戒\t猴哥！\n", "悟空: 师父莫怕。\n八戒: 猴哥！"),
        ("s.csv", "speaker;text\nTim;Hello, Ann.\n", "Tim: Hello, Ann."),
        ("old.csv", "speaker,text\rTim,Hello.\rAnn,Hi.\r", "Tim: Hello.\nAnn: Hi."),  # as Macs ended lines once
        ("m.csv", "part,oil\nengine,5W-30\ngearbox,75W\n", "part: engine | oil: 5W-30\npart: gearbox | oil: 75W"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_tables_are_read(name: str, content: str, text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode(encoding))
    assert read_text(tmp_path / name) == text


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\x00\x01\x02", b'a,b\n"' + b"x" * 200_000 + b'",y\n'])
def test_a_file_that_is_no_table_is_an_error_of_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(SourceError) as error:
        read_text(tmp_path / "t.csv")
    assert "t.csv" in str(error.value)
    assert "\n" not in str(error.value)
