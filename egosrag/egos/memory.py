"""The memory of a conversation (report 7.2.4): static, dynamic, both or none, over one record that keeps every turn.

Static: scenes stand for old turns (``summarize``). Dynamic: old turns leave the prompt, and those that a line needs
come back for it (``recall``). None: they leave and nothing stands for them. A session may go on with another
memory: what each of them shows is made from the same record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig

from egosrag.egos.organize import Organize
from egosrag.egos.recall import Leave, Recall
from egosrag.egos.step import Talk
from egosrag.egos.summarize import Summarize

_log = logging.getLogger(__name__)
Kind = Literal["static", "dynamic", "both", "none"]
_SPENT = 0.9  # of the room: the next line and its answer need some too


class Memory:
    """What the prompt shows of the turns that are past.

    Args:
        organize: composes the prompts that have to fit.
        summarize: writes the scenes; None: no static memory.
        recall: finds turns again; None: no dynamic memory.
        keep_turns: the last turns that stay in the prompt as they are, where they fit.
        notice: is told, in a line, what is no longer in the prompt.
    """

    def __init__(
        self,
        organize: Organize,
        summarize: Summarize | None,
        recall: Recall | None,
        *,
        keep_turns: int = 4,
        notice: Callable[[str], None] = _log.warning,
    ) -> None:
        self.organize = organize
        self.summarize = summarize
        self.recall = recall
        self.leave = Leave(organize.fits, keep_turns=keep_turns)
        self._cut = Leave(organize.fits, keep_turns=1, target=1.0)
        self.notice = notice

    def seen(self, talk: Talk) -> Talk:
        """The conversation as this memory shows it; turns that another memory let go of are in its hands again."""
        return replace(talk, left=frozenset()) if self.summarize else replace(talk, scenes=())

    def is_spent(self, talk: Talk, *, asked: bool) -> bool:
        """Whether something has to leave the prompt: for a line that is asked already, or before the next one."""
        if not asked:
            return not self.organize.fits(talk, _SPENT)
        if talk.holes:
            return True
        return (len(talk.visible_turns) > 1 or bool(talk.scenes)) and not self.organize.fits(talk)

    def condense(self, talk: Talk, config: RunnableConfig | None = None) -> dict[str, Any]:
        """What Summarize adds to the state: scenes, or the id of the first turn that is still in the prompt."""
        if self.summarize:
            return {"scenes": [scene.model_dump() for scene in self.summarize.run(talk, config)]}
        ids = self.leave.run(talk, config)
        if ids and not self.recall:
            self.notice(f"{len(ids)} more turns left the prompt and nothing stands for them; the record keeps them")
        return {"first": talk.visible_turns[len(ids)].id} if ids else {}

    def informed(self, talk: Talk, config: RunnableConfig | None = None) -> Talk:
        """The conversation with what its last line needs of the past, and not longer than can be asked.

        Where Summarize could not do its work, the oldest turns are left out of this one prompt.
        """
        ids = self._cut.run(talk)
        if ids:
            self.notice(f"the {len(ids)} oldest turns are left out of this one prompt; the record keeps them")
            talk = talk.without(ids)
        return replace(talk, recalled=self.recall.invoke(talk, config)) if self.recall else talk
