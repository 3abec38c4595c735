"""Tables in LaTeX, which programs write that read pages of PDF files, as lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from egosrag.rag.documents.latex import without_latex_tables
from egosrag.rag.documents.load import load_pages


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (
            r"{|l|r|} \hline Fluid & Litres \\ \hline Engine oil & $4.6$ \\ Coolant & 6.8 \\ \hline",
            ["Fluid: Engine oil | Litres: 4.6", "Fluid: Coolant | Litres: 6.8"],
        ),
        (r"{ll} Hello & 你好 \\ Goodbye & 再见 \\", ["Hello | 你好", "Goodbye | 再见"]),
        (
            r"{lll} Task & Admin & Guest \\ Logs & Yes & No \\ Tags & Yes & No \\ Rules & Yes & No",
            [
                "Task: Logs | Admin: Yes | Guest: No",
                "Task: Tags | Admin: Yes | Guest: No",
                "Task: Rules | Admin: Yes | Guest: No",
            ],
        ),
        (
            r"{l|p{3cm}} R\&D & \textbf{100\%} \\ $20 \pm 2^{\circ}$ C & \multirow{2}{*}{a} \\",
            ["R&D | 100%", "20 ± 2° C | a"],
        ),
        (r"{ll} \multicolumn{2}{|l|}{Front} \\ Left & 2.3 bar \\", ["Front", "Left | 2.3 bar"]),
    ],
)
def test_a_row_is_a_line(body: str, lines: list[str]) -> None:
    text = "Before\n\\begin{tabular}" + body + "\n\\end{tabular}\nafter"
    assert without_latex_tables(text).split("\n") == ["Before", *lines, "after"]


@pytest.mark.parametrize(
    "text", ["no table", r"\begin{tabular}{l} never ended", r"\begin{itemize} \item a \end{itemize}"]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert without_latex_tables(text) == text


def test_pages_of_a_jsonl_file_have_their_tables_as_lines(tmp_path: Path) -> None:
    file = tmp_path / "pages.jsonl"
    text = "Tyres\n\\begin{tabular}{ll} Front & 2.3 bar \\\\ Rear & 2.8 bar \\\\ \\end{tabular}"
    file.write_text(json.dumps({"page": 1, "text": text}) + "\n", encoding="utf-8")
    assert "Front | 2.3 bar\nRear | 2.8 bar" in load_pages([file])[0].text
