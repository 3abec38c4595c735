"""The quote decoder (report 7.2.3): the speech alone, out of what a model wrote after the prefix ``Tim: "``.

It is a pure function over a stream: text that ``feed`` returned is certain, and all of it together is the same however
the stream was cut. Only an end of the text that is still ambiguous is held back: white space, a mark that the next
character decides, a line that may begin with another speaker's name.

Rules, in both languages and for full-width and half-width marks:

- The mark that pairs with the prefix's mark ends the speech, in either width. Text after it is ignored.
- Quotations inside must be closed first; apostrophes, elisions, inch and foot marks are not quotation marks.
- A paragraph that begins with the opening mark again continues an unclosed speech: the mark is removed, the line break
  stays.
- A line ``Me: "`` or ``Name: "`` inside an unclosed speech is another speaker's: the speech ends before it.
- An echo of the prefix, or of its mark, is removed. Emphasis (``*softly*``) stays.
- After a prefix without a mark (no-quote mode) the speech runs to the end of the text, or to another speaker's line.
"""

from __future__ import annotations

from collections.abc import Iterable

from egosrag.text import quotation_marks as marks
from egosrag.text.quotation_marks import CLOSERS, SINGLES, STRAIGHT

_SPEAKERS = ("Me", "我", "User", "用户", "Human", "Assistant", "助手")  # names that models use for the participants


def speech(prefix: str, raw: str) -> str:
    """The speech alone, out of all text that a model wrote after ``prefix``.

    Args:
        prefix: the text that the model continued, ``Tim: "`` or ``悟空：“``; without a quotation mark at its end
            (``Tim: ``) no closing mark is expected.
        raw: all text that the model wrote after it.
    """
    decoder = QuoteDecoder(prefix)
    return decoder.feed(raw) + decoder.finish()


class QuoteDecoder:
    """Decodes one speech from a stream.

    Args:
        prefix: as in :func:`speech`.
        speakers: names of other participants; a line that begins with one of them ends the speech even without a
            quotation mark.

    Attributes:
        closed: true once the speech has ended: the caller may stop the model.
        stop_reason: "quote" (the closing mark) or "speaker" (another speaker's line) once it has ended; "eos" after
            ``finish`` where the text ended without either; None before.
    """

    def __init__(self, prefix: str, speakers: Iterable[str] = ()) -> None:
        head = prefix.rstrip()
        self.outer = head[-1] if head and head[-1] in CLOSERS else ""
        self._own = head.removesuffix(self.outer).rstrip().rstrip(":：").strip()
        self._known = {name.casefold() for name in (*_SPEAKERS, *speakers, self._own) if name}
        self.closed = False
        self.stop_reason: str | None = None
        self._buffer = ""
        self._space = ""  # white space that is returned only when text follows it
        self._before = ""  # the character before the buffer
        self._last = ""  # the last character before the buffer that is not white space
        self._stack: list[str] = []  # opening marks of the quotations that are open inside the speech
        self._at_start = True
        self._new_line = True
        self._out: list[str] = []

    def feed(self, chunk: str) -> str:
        """Take the next chunk of the model's text and return the speech that is certain now."""
        if self.closed:
            return ""
        self._buffer += chunk
        return self._run(ended=False)

    def finish(self) -> str:
        """At the end of the model's text: the rest of the speech that was held back."""
        if self.closed:
            return ""
        out = self._run(ended=True)
        self.closed = True
        self.stop_reason = self.stop_reason or "eos"
        return out

    def _run(self, ended: bool) -> str:
        self._out = []
        while self._buffer and not self.closed and self._step(ended):
            continue
        return "".join(self._out)

    def _step(self, ended: bool) -> bool:
        """Consume something of the buffer; false when that needs more text."""
        char = self._buffer[0]
        if char.isspace():
            self._space += char
            self._new_line |= char in "\r\n"
            self._consume(1)
            return True
        if self._at_start:
            return self._skip_echo(ended)
        other = self._other_speaker(ended)
        if other is not False:
            return bool(other)
        if self._new_line:
            self._new_line = False
            if self.outer and char in marks.family(self.outer) and self._last:
                return self._repeated_opening(ended)
        if self.outer and char in marks.ALL:
            return self._mark(char, ended)
        return self._write(1)

    def _skip_echo(self, ended: bool) -> bool:
        """Remove an echo of the prefix at the beginning of the text."""
        if self._own:
            end = marks.label_end(self._buffer, {self._own.casefold()}, False, ended)
            if end is None or (end == len(self._buffer) and not ended):
                return False
            if end:
                self._own = ""  # only once: a second echo would be speech
                mark = self._buffer[end : end + 1]
                return self._consume(end + bool(self.outer and mark and mark in marks.family(self.outer)))
        if self.outer and self._buffer[0] in marks.family(self.outer):
            return self._leading_mark(ended)
        end = marks.label_end(self._buffer, self._known, bool(self.outer), ended)
        if end is None:
            return False
        self._at_start = self._new_line = False
        return self._end("speaker") if end else True

    def _leading_mark(self, ended: bool) -> bool:
        """Handle a quotation mark with which the text begins."""
        role = marks.leading_mark_role(self._buffer, self.outer, ended)
        if role is None:
            return False
        self._at_start = self._new_line = False
        if role == "close":
            return self._end("quote")
        if role == "nested":
            return self._push()
        return self._consume(1) if role == "echo" else self._write(1)

    def _other_speaker(self, ended: bool) -> bool | None:
        """Whether another speaker's line begins here, which has then ended the speech; None: undecided."""
        if self._new_line and self._last:
            end = marks.label_end(self._buffer, self._known, False, ended)
            if end == 0:
                end = marks.label_end(self._buffer, None, True, ended)
        elif self.outer and self._last and self._last in marks.SENTENCE_END:
            end = marks.label_end(self._buffer, self._known, True, ended)
        else:
            return False
        return None if end is None else self._end("speaker") if end else False

    def _repeated_opening(self, ended: bool) -> bool:
        """Remove the mark that opens a further paragraph of the speech; alone on its line it closes the speech."""
        over = marks.line_ends(self._buffer, 1, ended)
        if over is None:
            self._new_line = True
            return False
        return self._end("quote") if over else self._consume(1, before="\n")

    def _mark(self, char: str, ended: bool) -> bool:
        """Handle a quotation mark: it closes the speech, opens or closes a quotation inside, or is text."""
        if self._before == "\\":
            return self._write(1)
        if char in STRAIGHT:
            return self._straight(ended)
        if char in SINGLES + "‘":
            return self._single(ended) if self.outer in "'‘’＇‚" else self._write(1)
        if self._stack and char in CLOSERS[self._stack[-1]]:
            return self._pop()
        if char in CLOSERS[self.outer]:
            return self._end("quote")
        if char in marks.OPEN or char == self.outer:
            over = marks.line_ends(self._buffer, 1, ended)
            if over and not self._stack and char in marks.family(self.outer):
                return self._end("quote")  # a closing mark that was written the wrong way round
            return over is not None and self._push()
        if self._before.isspace() or (self.outer in "'‘’＇‚" and char == "”"):
            return self._write(1)
        return self._pop() if self._stack else self._end("quote")

    def _straight(self, ended: bool) -> bool:
        """Handle a straight double mark, which may open as well as close: the text around it decides."""
        double = self.outer in '"＂“”„'
        after, inside = self._buffer[1:2], any(mark in STRAIGHT for mark in self._stack)
        if double and not self._stack and self._before and self._before in marks.TERMINAL:
            return self._end("quote")
        if not after and not ended:
            return False
        over = not after or after in "\r\n"
        if self._before.isdigit() and not over:
            measure = marks.is_measure(self._buffer, ended, 1 + inside)
            if measure is not False:
                return self._write(1) if measure else False
        if marks.opens(self._before, after):
            return self._push()
        if inside:
            return self._pop(STRAIGHT)
        if over or (double and not self._stack and not self._before.isalnum()):
            return self._end("quote")
        if self._stack:
            return self._pop()
        if not double:
            return self._push()
        if after.isalnum():
            closes_later = marks.closer_ahead(self._buffer, 1, ended)
            if closes_later is None:
                return False
            if closes_later or marks.next_closes_a_word(self._buffer):
                return self._push()
        return self._end("quote")

    def _single(self, ended: bool) -> bool:
        """Handle a single mark in a speech between single marks: it may be an apostrophe too."""
        char, before, after = self._buffer[0], self._before, self._buffer[1:2]
        if not after and not ended:
            return False
        if marks.is_latin(before or " ") and marks.is_latin(after or " "):
            return self._write(1)
        if char == "‘":
            return self._push()
        elided = marks.is_elision(self._buffer, 1, ended) if not before.isalnum() or after in ("n", "N") else False
        if elided is not False:
            n_alone = after in "nN" and self._buffer[2:3] in tuple(SINGLES)
            return bool(elided) and self._write(3 if n_alone else 1)
        if not self._stack and before and before in marks.TERMINAL or not after or after in "\r\n":
            return self._pop() if self._stack else self._end("quote")
        if char != "’" and marks.opens(before, after):
            return self._push()
        if self._stack:
            return self._pop()
        if before.isdigit():
            ahead = marks.is_measure(self._buffer, ended, 1)
        else:
            ahead = marks.closer_ahead(self._buffer, 1, ended, single=True)
        if ahead is None:
            return False
        return self._write(1) if ahead else self._end("quote")

    def _push(self) -> bool:
        """Open a quotation inside the speech."""
        self._stack.append(self._buffer[0])
        return self._write(1)

    def _pop(self, marks_to_pop: str = "") -> bool:
        """Close the innermost quotation, or all up to the innermost that one of ``marks_to_pop`` opened."""
        while self._stack and (mark := self._stack.pop()) and marks_to_pop and mark not in marks_to_pop:
            continue
        return self._write(1)

    def _write(self, count: int) -> bool:
        text = self._buffer[:count]
        self._out.append((self._space if self._last else "") + text)
        self._space = ""
        self._last = text[-1]
        return self._consume(count)

    def _consume(self, count: int, before: str = "") -> bool:
        self._before = before or self._buffer[count - 1]
        self._buffer = self._buffer[count:]
        return True

    def _end(self, reason: str) -> bool:
        self.closed = True
        self.stop_reason = reason
        self._buffer = ""
        return True
