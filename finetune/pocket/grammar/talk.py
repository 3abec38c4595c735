"""Conversations: a role answers from its card, remembers what it was told, and the whole is summarized."""

from __future__ import annotations

from typing import NamedTuple

from egosrag.prompts import render
from egosrag.schema import Scene, Turn
from finetune.pocket.grammar import cards, roles
from finetune.pocket.grammar.names import Dice
from finetune.pocket.grammar.sample import Sample, messages, table

# Kinds that answer each other's questions in part: one of them on the card leaves none of its group unknown.
_NEAR = (
    {"town", "lives", "learned"},
    {"job", "employer", "years", "keeper", "past", "post"},
    {"speech", "calls"},
    {"skill", "hobby"},
    {"relative", "kin"},
    {"fear", "dislike", "enemy"},
)


class Told(NamedTuple):
    """Something that the user tells, how the role takes it, and how it is asked for later."""

    key: str
    line: str
    reply: str
    ask: str
    answer: str
    value: str


def told(d: Dice, key: str) -> Told:
    """Something random of one kind that the user tells."""
    words = table("lexicon", d.language)
    wordings = table("talk", d.language)["told"][key]
    values = {
        "v": d.place() if key == "town" else d.pet() if key == "pet" else d.name(),
        "p": d.place(),
        "k": d.of(words["animal"]),
        "j": d.of(words["job"]),
        "f": d.of(words["food"]) if d.chance(0.7) else d.word() + ("" if d.zh else " ") + d.of(words["food"]),
        "n": d.amount(5, 99) if key == "age" else d.number(5, 9999),
        "d": d.date(),
        "r": d.of(words["relative"]),
        "s": d.of(words["spot"]),
        "c": d.clock(),
        "t": roles.thing(d),
        "o": d.of(words["colour"]),
        "b": d.of(words["drink"]),
        "h": d.of(words["hobby"]),
        "w": d.of(words["fear"]),
        "x": d.of(words["wish"]),
    }
    gold = {
        "town": "p" if d.zh else "v",
        "job": "j",
        "food": "f",
        "number": "n",
        "age": "n",
        "birthday": "d",
        "meeting": "c",
        "thing": "t",
        "colour": "o",
        "drink": "b",
        "hobby": "h",
        "fear": "w",
        "wish": "x",
    }
    value = values[gold.get(key, "v")]
    values |= {"aj": roles.a(values["j"]), "ak": roles.a(values["k"]), "ar": roles.a(values["r"])}
    said, asked = d.wording(wordings["lines"]), d.wording(wordings["asks"])
    texts = (text.format(**values) for text in (said, wordings["reply"], asked, wordings["answer"]))
    return Told(key, *texts, value)


def small_talk(d: Dice, name: str) -> tuple[str, str, bool]:
    """A line of small talk, its answer, and whether the line names a place, so that a summary keeps it."""
    wordings, words = d.of(table("talk", d.language)["small"]), table("lexicon", d.language)
    template = d.wording(wordings["lines"])
    line = template.format(x=d.of(words["weather"]), p=d.place(), k=d.of(words["animal"]))
    return line, wordings["answer"].format(N=name), "{p}" in template


def voiced(d: Dice, text: str, address: str) -> str:
    """What a role says, with the word by which it calls people, as its card has it: a copy needs no capital."""
    if not address or address in text:
        return text
    return f"{address}，{text}" if d.zh else f"{text[:-1]}, {address}{text[-1]}"


def scene(a: str, b: str, text: str, language: str) -> str:
    """One line of a summary: who tells whom what."""
    return str(table("talk", language)["scene"]).format(a=a, b=b, t=text)


class Talk:
    """A conversation that grows exchange by exchange: (user line, role line, what a summary keeps of it)."""

    def __init__(self, d: Dice) -> None:
        self.d = d
        self.name = d.name()
        self.facts = roles.facts(d, d.count(d.random.randint(2, 6), 10))
        if d.chance(0.35):
            self.facts += [roles.fact(d, "story")._replace(kind=f"story{n}") for n in range(d.random.randint(1, 3))]
        if d.chance(0.15) and all(f.kind != "calls" for f in self.facts):
            self.facts[0] = roles.fact(d, "calls")
        self.address = next((f.value for f in self.facts if f.kind == "calls"), "")
        dialogue = []
        if d.chance(0.25):
            f = d.of(self.facts)
            ask, answer = (f.ask, f.answer) if d.chance(0.3) else small_talk(d, self.name)[:2]
            if d.chance(0.3):  # what it tells is not what is asked later
                other = roles.fact(d, "story")
                ask, answer = other.ask, other.answer
            dialogue = cards.dialogue(d, self.name, ask, voiced(d, answer, self.address))
        self.role = cards.make_role(d, self.name, self.facts, dialogue)
        self.user = render.USER[d.language] if d.chance(0.9) else d.name()
        self.asked: set[str] = set()
        self.told: list[Told] = []
        self.value = ""

    def _tell(self) -> tuple[str, str, list[str]]:
        d = self.d
        open_keys = [k for k in table("talk", d.language)["told"] if k not in {t.key for t in self.told}]
        item = told(d, d.of(open_keys))
        self.told.append(item)
        line, reply = item.line, item.reply
        if d.chance(0.25) and len(open_keys) > 1:
            other = told(d, d.of([k for k in open_keys if k != item.key]))
            self.told.append(other)
            line += ("" if d.zh else " ") + other.line
            reply = other.reply
        self.value = ""
        return line, voiced(d, reply, self.address), [scene(self.user, self.name, line, d.language)]

    def _recall(self) -> tuple[str, str, list[str]]:
        item = self.d.of(self.told)
        self.value = item.value
        return self._answered(item.ask, item.answer)

    def _card(self) -> tuple[str, str, list[str]]:
        f = self.d.of([f for f in self.facts if f.kind not in self.asked] or self.facts)
        self.asked.add(f.kind)
        self.value = f.value
        return self._answered(f.ask, f.answer)

    def _answered(self, ask: str, answer: str) -> tuple[str, str, list[str]]:
        said = voiced(self.d, answer, self.address)
        return ask, said, [scene(self.name, self.user, said, self.d.language)]

    def _unknown(self) -> tuple[str, str, list[str]]:
        d = self.d
        self.value = ""
        if d.chance(0.5):
            key = d.of([k for k in table("talk", d.language)["told"] if k not in {t.key for t in self.told}])
            return told(d, key).ask, voiced(d, table("talk", d.language)["not_told"], self.address), []
        have = {f.kind for f in self.facts}
        for group in _NEAR:
            have |= group if have & group else set()
        kinds = [k for k in roles.ATTRIBUTES[d.language] if k not in have]
        ask = cards.outside(d) if d.chance(0.3) else roles.fact(d, d.of(kinds)).ask
        return ask, voiced(d, table("talk", d.language)["unknown"], self.address), []

    def exchange(self, kind: str) -> tuple[str, str, list[str]]:
        """One exchange of ``kind``: "tell", "recall", "card", "unknown" or "small"."""
        d = self.d
        if kind == "recall" and not self.told:
            kind = "card"
        if kind == "small" or (kind == "tell" and len(self.told) > 5):
            self.value = ""
            line, answer, named = small_talk(d, self.name)
            answer = voiced(d, answer, self.address)
            return line, answer, [scene(self.user, self.name, line, d.language)] if named else []
        asks = kind in ("recall", "card", "unknown")
        before = self._tell() if asks and len(self.told) < 6 and d.chance(0.07) else None
        line, answer, kept = {"tell": self._tell, "recall": self._recall, "card": self._card, "unknown": self._unknown}[
            kind
        ]()
        if before:  # something is told before it is asked
            line, kept = before[0] + ("" if d.zh else " ") + line, before[2] + kept
        elif asks and d.chance(0.25):
            line = cards.framed(d, line, self.name)
        elif kind == "tell" and d.chance(0.12):
            line = d.of(table("talk", d.language)["greet"]) + line
        return line, answer, kept


def role_answer(d: Dice) -> Sample:
    """Family 1: the role's next line, from its card, the history and the scenes."""
    talk, turns, spans, scenes = Talk(d), [], [], []
    for _ in range(d.count(1, 6) if d.chance(0.45) else 0):
        line, answer, kept = talk.exchange(d.of(["tell", "tell", "card"]))
        if len(kept) == 1 and d.chance(0.3):  # as Summarize keeps a turn that a model would not condense
            said = (talk.name, answer) if talk.value else (talk.user, line)
            kept = [render.quoted(*said, d.language)]
        scenes += [Scene(text=text, turn_ids=()) for text in kept]
    if d.chance(0.3):  # the role greets first
        greeting = d.of(table("talk", d.language)["greetings"]).format(p=d.place(), t=roles.thing(d))
        if d.chance(0.3):
            greeting += ("" if d.zh else " ") + roles.fact(d, "story").answer
        turns.append(Turn(speaker=talk.name, text=voiced(d, greeting, talk.address)))
    # Many exchanges a card: every answer in the history teaches, and the card is read once for all of them.
    for n in range(d.random.randint(0, 2) if d.chance(0.25) else d.random.randint(5, 12)):
        kinds = 2 * ["tell"] + 2 * ["recall"] + 4 * ["card"] + 3 * ["unknown"] + ["small"]
        line, answer, _ = talk.exchange("small" if n == 0 and d.chance(0.25) else d.of(kinds))
        turns += [Turn(speaker=talk.user, text=line), Turn(speaker=talk.name, text=answer)]
        spans.append(render.quoted(talk.name, answer, d.language))
    line, answer, _ = talk.exchange(d.of(3 * ["recall"] + 4 * ["card"] + 3 * ["unknown"] + ["tell", "small"]))
    blocks = [render.scene_block(scenes, d.language), render.transcript(turns, d.language)]
    if turns and d.chance(0.08):
        blocks.append(render.recalled_block(d.random.sample(turns, 1), d.language))
    blocks.append(render.quoted(talk.user, line, d.language))
    conversation = "\n".join(block for block in blocks if block)
    prefix = render.speech_prefix(talk.name, d.language)
    card = render.card(talk.role, d.language)
    rendered = messages(
        "generate", d.language, prefix, name=talk.name, user=talk.user, card=card, conversation=conversation
    )
    statements = [
        s.text
        for part in (talk.role.background, talk.role.personality, talk.role.speaking_style, talk.role.relations)
        for s in part
    ]
    known = (*statements, *(t.text for t in turns), *(s.text for s in scenes))
    close = render.MARKS[d.language][1]
    return Sample("role", d.language, rendered, answer + close, talk.value or answer, tuple(spans), known, line)


def summary(d: Dice) -> Sample:
    """Family 3: a conversation condensed to scenes that keep what was told."""
    talk, turns, scenes = Talk(d), [], []
    for _ in range(d.count(1, 4)):
        line, answer, kept = talk.exchange(d.of(["tell", "tell", "card", "card", "recall", "unknown", "small"]))
        turns += [Turn(speaker=talk.user, text=line), Turn(speaker=talk.name, text=answer)]
        scenes += kept
    if not scenes:
        scenes = [table("talk", d.language)["nothing"].format(u=talk.user, n=talk.name)]
    answer = "\n".join(scenes)
    values = [t.value for t in talk.told] or [answer]
    rendered = messages("summarize", d.language, conversation=render.transcript(turns, d.language))
    return Sample("summarize", d.language, rendered, answer, "\n".join(values), (), tuple(t.text for t in turns), "")
