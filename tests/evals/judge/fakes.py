"""Cases and samples, and judges that read their prompt as a model would, of known opinion and bias."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from evals.judge.cases import Case, material
from evals.judge.verdict import Sample

PAIR = Case("1", "How high is the Eiffel Tower?", {"ours": "330 metres.", "theirs": "About 300 m."}, "330 m")
ZH = Case("2", "埃菲尔铁塔有多高？", {"甲": "三百三十米。", "乙": "大约三百米。"}, "三百三十米")


def sample(swapped: bool, *values: float) -> Sample:
    """One answer of a judge: its numbers, or no verdict."""
    return Sample(swapped, values or None, None if values else "no verdict", "")


class ReadingJudge(BaseChatModel):
    """Knows the worth of answers by their text, and gives what it reads first ``bias`` points more.

    It finds the answers in the last message alone, each by its whole quoted block, so an answer that could forge a
    block of its own would be judged too.
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
        found = sorted((text.index(m), worth) for m, worth in self._blocks(text).items())
        scores = [worth + (self.bias if n == 0 else 0) for n, (_, worth) in enumerate(found)]
        rules = str(messages[0].text)
        if "A=N" in rules:
            verdict = f"A={scores[0]:g}, B={scores[1]:g}"
        elif re.search("Ranking:|排名：", rules):
            order = sorted(range(len(scores)), key=lambda n: -scores[n])
            verdict = " > ".join("ABCDEFGH"[n] for n in order)
        else:
            first = re.search("Reference|参考", text)
            ahead = first is not None and first.start() < found[0][0]
            verdict = f"{found[0][1] + (0 if ahead else self.bias):g}"
        said = AIMessage(f"I have read them all, and quote: {text} Verdict: [[{verdict}]]")
        return ChatResult(generations=[ChatGeneration(message=said)])

    def _blocks(self, text: str) -> Mapping[str, float]:
        return {material(answer): worth for answer, worth in self.worth.items() if material(answer) in text}
