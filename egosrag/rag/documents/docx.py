"""DOCX: everything that a reader of the printed document sees, once; what cannot be read as text is named.

The XML is walked directly: python-docx's paragraphs leave out insertions, content controls, text boxes and notes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from egosrag.errors import SourceError
from egosrag.limits import DOCUMENT_BYTES
from egosrag.rag.documents.raw import Line, RawDocument, RawPage, check_limit
from egosrag.rag.documents.superscripts import subscript, superscript
from egosrag.rag.documents.tables import table_lines
from egosrag.rag.documents.word_styles import ListNumbers, WordStyles

if TYPE_CHECKING:
    from docx.document import Document

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_MAX_SPAN = 100  # columns that one cell may span
# Not part of the printed text: deletions, the old places of moved text, field codes, properties of runs.
_NOT_SHOWN = {f"{_W}{name}" for name in ("del", "moveFrom", "instrText", "delText", "rPr", "pPr", "sectPr", "tblPr")}
_BLOCKS = {f"{_W}p", f"{_W}tbl"}
_UNREAD = {
    "{http://schemas.openxmlformats.org/drawingml/2006/picture}pic": "picture",
    "{urn:schemas-microsoft-com:vml}imagedata": "picture",
    "{http://schemas.openxmlformats.org/drawingml/2006/chart}chart": "chart",
    "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds": "diagram",
    f"{_W}altChunk": "embedded document",
    f"{_W}commentReference": "comment",
}


def read_docx(path: Path) -> RawDocument:
    """The lines of a DOCX file: headers, body with its notes and text boxes, footers.

    Raises:
        SourceError: the file is damaged, or larger than the limit when unpacked.
    """
    import docx

    try:
        with ZipFile(path) as packed:  # zipfile unpacks no more of a part than its stated size
            check_limit(path, sum(part.file_size for part in packed.infolist()), DOCUMENT_BYTES, "bytes unpacked")
        reader = _Reader(docx.Document(str(path)))
        lines = reader.lines()
    except SourceError:
        raise
    except Exception as error:  # python-docx passes on zip, XML and key errors
        raise SourceError(f"{path} is not a DOCX file that can be read: open and save it again") from error
    notes = tuple(f"{count} {name}{'s' if count > 1 else ''}" for name, count in reader.unread.items())
    return RawDocument([RawPage(1, lines)], "flow", [], notes)


class _Reader:
    """Reads the parts of one document.

    Attributes:
        unread: how many of each kind of object were not read.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._styles = WordStyles(document)
        self._numbers = ListNumbers(document, self._styles)
        self._notes = {kind: self._note_elements(kind) for kind in ("footnote", "endnote")}
        self.unread = Counter[str]()

    def lines(self) -> list[Line]:
        """All lines, in reading order."""
        body = list(self._block_lines(self._document.element.body))
        edges: dict[str, list[Line]] = {"header": [], "footer": []}
        for relation in self._document.part.rels.values():
            kind = relation.reltype.rsplit("/", 1)[-1]
            if kind in edges and not relation.is_external:
                edges[kind] += self._block_lines(relation.target_part.element)
        # Each once: a document has a header for its first, its even and its odd pages, and for each section.
        header = dict.fromkeys(line for line in edges["header"] if line.text.strip())
        footer = dict.fromkeys(line for line in edges["footer"] if line.text.strip() and line not in header)
        return [*header, *body, *footer]

    def _note_elements(self, kind: str) -> dict[str, Any]:
        """The footnotes or endnotes by their ids."""
        from docx.oxml import parse_xml

        for relation in self._document.part.rels.values():
            if relation.reltype.endswith(f"/{kind}s") and not relation.is_external:
                root = parse_xml(relation.target_part.blob)
                return {note.get(f"{_W}id"): note for note in root.iter(f"{_W}{kind}")}
        return {}

    def _block_lines(self, parent: Any) -> Iterator[Line]:
        """The lines of the paragraphs and tables in a body, header, note, text box or content control."""
        for element in _shown(parent):
            if element.tag == f"{_W}p":
                yield from self._paragraph_lines(element)
            elif element.tag == f"{_W}tbl":
                yield from self._table_lines(element)
            elif element.tag in _UNREAD:
                self.unread[_UNREAD[element.tag]] += 1
            else:  # content controls, custom XML, insertions
                yield from self._block_lines(element)

    def _paragraph_lines(self, paragraph: Any) -> Iterator[Line]:
        """A paragraph, then its text boxes and notes."""
        parts: list[str] = []
        inserts: list[Any] = []
        self._read_runs(paragraph, parts, inserts)
        text = "".join(parts)
        level = self._styles.heading_level(paragraph)
        mark = self._numbers.mark(paragraph) if text.strip() else ""
        if text.strip() or not inserts:
            yield Line(mark + text, level)
        for insert in inserts:
            yield from self._block_lines(insert)

    def _read_runs(self, parent: Any, parts: list[str], inserts: list[Any]) -> None:
        """Append the text of the runs below ``parent``, and the text boxes and notes that are anchored there."""
        for element in _shown(parent):
            tag = element.tag
            if tag == f"{_W}r":
                if not self._styles.is_hidden(element):
                    run: list[str] = []
                    self._read_runs(element, run, inserts)
                    parts.append(self._shifted(element, "".join(run)))
            elif tag in (f"{_W}t", f"{_MATH}t"):
                parts.append(element.text or "")
            elif tag in (f"{_W}tab", f"{_W}ptab", f"{_W}br", f"{_W}cr"):
                parts.append(" ")
            elif tag == f"{_W}noBreakHyphen":
                parts.append("-")
            elif tag in (f"{_W}footnoteReference", f"{_W}endnoteReference"):
                note = self._notes[tag.removeprefix(_W).removesuffix("Reference")].get(element.get(f"{_W}id"))
                if note is not None:
                    inserts.append(note)
            elif tag == f"{_W}txbxContent":
                inserts.append(element)
            elif tag in _UNREAD:
                self.unread[_UNREAD[tag]] += 1
            elif tag == f"{_MATH}sup":
                inner: list[str] = []
                self._read_runs(element, inner, inserts)
                parts.append(superscript("".join(inner)))
            else:
                self._read_runs(element, parts, inserts)

    @staticmethod
    def _shifted(run: Any, text: str) -> str:
        align = run.find(f"{_W}rPr/{_W}vertAlign")
        value = align.get(f"{_W}val") if align is not None else None
        if value == "superscript":
            return superscript(text)
        return subscript(text) if value == "subscript" else text

    def _table_lines(self, table: Any) -> Iterator[Line]:
        """A line for each row; a table of one column is a frame around what it contains."""
        rows = [[cell for cell in _elements(row, f"{_W}tc")] for row in _elements(table, f"{_W}tr")]
        if all(len(row) < 2 for row in rows):
            for row in rows:
                for cell in row:
                    yield from self._block_lines(cell)
            return
        grid: list[list[str]] = []
        headers = 0
        for n, (row, element) in enumerate(zip(rows, _elements(table, f"{_W}tr"), strict=True)):
            cells: list[str] = []
            before = element.find(f"{_W}trPr/{_W}gridBefore")
            cells += [""] * _number(before)
            for cell in row:
                properties = cell.find(f"{_W}tcPr")
                merge = properties.find(f"{_W}vMerge") if properties is not None else None
                wide = min(max(1, _number(cell.find(f"{_W}tcPr/{_W}gridSpan"))), _MAX_SPAN)
                if merge is not None and merge.get(f"{_W}val") != "restart" and grid and len(grid[-1]) > len(cells):
                    text = grid[-1][len(cells)]  # of the cell above that it continues
                else:
                    text = " ".join(line.text for line in self._block_lines(cell) if line.text.strip())
                cells += [text] * wide
            grid.append(cells)
            is_header = element.find(f"{_W}trPr/{_W}tblHeader")
            if n == headers and is_header is not None and is_header.get(f"{_W}val") not in ("0", "false"):
                headers += 1
        # Word marks the first row of most tables as one of column names, also where the author did not.
        look = table.find(f"{_W}tblPr/{_W}tblLook")
        first_row = look is not None and look.get(f"{_W}firstRow") == "1"
        yield from (Line(line) for line in table_lines(grid, headers or None, likely=first_row))


def _shown(parent: Any) -> Iterator[Any]:
    """The child elements that are part of the printed document; of alternative contents only one."""
    for element in parent:
        if not isinstance(element.tag, str) or element.tag in _NOT_SHOWN:
            continue
        if element.tag == f"{_MC}AlternateContent":
            choices = [child for child in element if child.tag in (f"{_MC}Choice", f"{_MC}Fallback")]
            if choices:
                yield choices[0]
            continue
        yield element


def _elements(parent: Any, tag: str) -> list[Any]:
    """The rows of a table or the cells of a row, also those in content controls and insertions; no deleted ones."""
    found: list[Any] = []
    for element in _shown(parent):
        if element.tag == tag:
            if element.find(f"{_W}trPr/{_W}del") is None:
                found.append(element)
        elif element.tag not in _BLOCKS:
            found += _elements(element, tag)
    return found


def _number(element: Any) -> int:
    value = element.get(f"{_W}val") if element is not None else ""
    return int(value) if re.fullmatch(r"\d{1,4}", value or "") else 0
