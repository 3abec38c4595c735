"""Cases, samples, and a judge with known scores and a known bias that reads its prompt as a model would."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from evals.judge.cases import Case
from evals.judge.prompt import escape
from evals.judge.verdict import Sample

PAIR = Case("1", "How high is the Eiffel Tower?", {"ours": "330 metres.", "theirs": "About 300 m."}, "330 m")
ZH = Case("2", "埃菲尔铁塔有多高？", {"甲": "三百三十米。", "乙": "大约三百米。"}, "三百三十米")


def sample(swapped: bool, *values: float) -> Sample:
    """One reply of a judge: its numbers, or no verdict."""
    return Sample(swapped, values or None, None if values else "no verdict", "")


class ReadingJudge(BaseChatModel):
    """Scores answers by their text (``worth``), and the answer that it reads first ``bias`` points higher.

    It searches only the last message for the answers, each by its whole quoted block, so an answer that could forge a
    block would be judged too.
    """

    worth: dict[str, float]
    bias: float = 0.0
    seen: list[list[BaseMessage]] = []

    @property
    def _llm_type(self) -> str:
        return "reading-judge"

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kw: Any
    ) -> ChatResult:
        self.seen.append(messages)
        text = str(messages[-1].text)
        blocks = sorted((text.index(m), worth) for m, worth in self._blocks(text).items())
        scores = [worth + (self.bias if n == 0 else 0) for n, (_, worth) in enumerate(blocks)]
        rules = str(messages[0].text)
        if "A=N" in rules:
            verdict = f"A={scores[0]:g}, B={scores[1]:g}"
        elif re.search("Ranking:|排名：", rules):
            order = sorted(range(len(scores)), key=lambda n: -scores[n])
            verdict = " > ".join("ABCDEFGH"[n] for n in order)
        else:
            first = re.search("Reference|参考", text)
            ahead = first is not None and first.start() < blocks[0][0]
            verdict = f"{blocks[0][1] + (0 if ahead else self.bias):g}"
        reply = AIMessage(f"I have read them all, and quote: {text} Verdict: [[{verdict}]]")
        return ChatResult(generations=[ChatGeneration(message=reply)])

    def _blocks(self, text: str) -> Mapping[str, float]:
        return {escape(answer): worth for answer, worth in self.worth.items() if escape(answer) in text}
