"""Wiki pages are read without edit links, footnote marks and navigation; each infobox fact is a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from egosrag.rag.documents.load import read_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            '<h2>Life<span class="mw-editsection">[edit]</span></h2><p>Ann sailed.<sup class="reference">[12]</sup>'
            " Then she rested.<sup>[a]</sup></p><div class=navbox>More sailors</div>"
            "<ol class=references><li>x</li></ol>",
            "Life\nAnn sailed. Then she rested.",
        ),
        (
            '<aside class="portable-infobox"><div class="pi-item pi-data"><h3 class="pi-data-label">Age</h3>'
            '<div class="pi-data-value">16 <small>(then)</small></div></div></aside><p>Ann is a sailor.</p>',
            "Age | 16 (then)\nAnn is a sailor.",
        ),
        (
            "<dl><dt>中文名</dt><dd>顾青禾<sup>[1-2]</sup></dd><dt>职业</dt><dd>修钟匠</dd></dl><p>顾青禾住在云岭。</p>",
            "中文名 | 顾青禾\n职业 | 修钟匠\n顾青禾住在云岭。",
        ),
        ("<dl><dt>Tools</dt><dd>one</dd><dd>two</dd></dl>", "Tools\none\ntwo"),
        ("<dl><dt>run</dt><dd><p>Runs it.</p></dd></dl>", "run\nRuns it."),
        ("<p>E = mc<sup>2</sup> and 10<sup>[xy]</sup></p>", "E = mc² and 10[xy]"),
        ("<table class=infobox><tr><th>Born</th><td>1931</td></tr></table><p>x y.</p>", "Born | 1931\nx y."),
    ],
)
def test_boilerplate_is_removed_and_infobox_facts_are_lines(html: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    assert read_text(tmp_path / "page.html") == text
