"""Samples of Generate and Summarize: a role answers from its card and from what the user has stated."""

from __future__ import annotations

from typing import NamedTuple

from egosrag.prompts import render
from egosrag.schema import Scene, Turn
from finetune.pocket.grammar import cards, roles
from finetune.pocket.grammar.names import Dice
from finetune.pocket.grammar.sample import Sample, prompt_messages, table

# Kinds of facts that partly answer each other's questions: with one of them on the card, none of its group is unknown.
_RELATED = (
    {"town", "lives", "learned"},
    {"job", "employer", "years", "keeper", "past", "post"},
    {"speech", "calls"},
    {"skill", "hobby"},
    {"relative", "kin"},
    {"fear", "dislike", "enemy"},
)


class UserFact(NamedTuple):
    """A fact that the user states, the role's reply, and a later question about it with its answer."""

    key: str
    line: str
    reply: str
    ask: str
    answer: str
    value: str


def user_fact(d: Dice, key: str) -> UserFact:
    """A random fact of the kind ``key`` that the user states."""
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
    values |= {"aj": roles.article(values["j"]), "ak": roles.article(values["k"]), "ar": roles.article(values["r"])}
    line, ask = d.wording(wordings["lines"]), d.wording(wordings["asks"])
    texts = (text.format(**values) for text in (line, wordings["reply"], ask, wordings["answer"]))
    return UserFact(key, *texts, value)


def small_talk(d: Dice, name: str) -> tuple[str, str, bool]:
    """A line of small talk, its answer, and whether the line names a place and so belongs in a summary."""
    wordings, words = d.of(table("talk", d.language)["small"]), table("lexicon", d.language)
    template = d.wording(wordings["lines"])
    line = template.format(x=d.of(words["weather"]), p=d.place(), k=d.of(words["animal"]))
    return line, wordings["answer"].format(N=name), "{p}" in template


def with_address(d: Dice, text: str, address: str) -> str:
    """The role's speech with its form of address, spelt as on its card so that it can be copied."""
    if not address or address in text:
        return text
    return f"{address}，{text}" if d.zh else f"{text[:-1]}, {address}{text[-1]}"


def scene(a: str, b: str, text: str, language: str) -> str:
    """One line of a summary: ``a`` tells ``b`` that ``text``."""
    return str(table("talk", language)["scene"]).format(a=a, b=b, t=text)


class RandomConversation:
    """A conversation that grows by exchanges: (user line, role line, lines of a summary).

    Attributes:
        name: of the role.
        facts: on its card.
        address: the role's form of address; "" if it has none.
        role: its card.
        user: name of the user.
        user_facts: facts that the user has stated.
        value: the value that the last answer must contain; "" if there is none.
    """

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
            if d.chance(0.3):  # so that its contents are not what is asked later
                other = roles.fact(d, "story")
                ask, answer = other.ask, other.answer
            dialogue = cards.sample_dialogue(d, self.name, ask, with_address(d, answer, self.address))
        self.role = cards.make_role(d, self.name, self.facts, dialogue)
        self.user = render.USER[d.language] if d.chance(0.9) else d.name()
        self._asked: set[str] = set()  # kinds of facts that were asked for
        self.user_facts: list[UserFact] = []
        self.value = ""

    def _state_fact(self) -> tuple[str, str, list[str]]:
        d = self.d
        open_keys = [k for k in table("talk", d.language)["told"] if k not in {t.key for t in self.user_facts}]
        item = user_fact(d, d.of(open_keys))
        self.user_facts.append(item)
        line, reply = item.line, item.reply
        if d.chance(0.25) and len(open_keys) > 1:
            other = user_fact(d, d.of([k for k in open_keys if k != item.key]))
            self.user_facts.append(other)
            line += ("" if d.zh else " ") + other.line
            reply = other.reply
        self.value = ""
        return line, with_address(d, reply, self.address), [scene(self.user, self.name, line, d.language)]

    def _ask_user_fact(self) -> tuple[str, str, list[str]]:
        item = self.d.of(self.user_facts)
        self.value = item.value
        return self._answered(item.ask, item.answer)

    def _ask_card_fact(self) -> tuple[str, str, list[str]]:
        f = self.d.of([f for f in self.facts if f.kind not in self._asked] or self.facts)
        self._asked.add(f.kind)
        self.value = f.value
        return self._answered(f.ask, f.answer)

    def _answered(self, ask: str, answer: str) -> tuple[str, str, list[str]]:
        speech = with_address(self.d, answer, self.address)
        return ask, speech, [scene(self.name, self.user, speech, self.d.language)]

    def _ask_unknown(self) -> tuple[str, str, list[str]]:
        d = self.d
        self.value = ""
        if d.chance(0.5):
            key = d.of([k for k in table("talk", d.language)["told"] if k not in {t.key for t in self.user_facts}])
            return user_fact(d, key).ask, with_address(d, table("talk", d.language)["not_told"], self.address), []
        known = {f.kind for f in self.facts}
        for group in _RELATED:
            known |= group if known & group else set()
        kinds = [k for k in roles.ATTRIBUTES[d.language] if k not in known]
        ask = cards.unanswerable_question(d) if d.chance(0.3) else roles.fact(d, d.of(kinds)).ask
        return ask, with_address(d, table("talk", d.language)["unknown"], self.address), []

    def exchange(self, kind: str) -> tuple[str, str, list[str]]:
        """Add one exchange.

        Args:
            kind: "tell" (the user states a fact), "recall" (a question about one), "card" (a question about the card),
                "unknown" (a question without an answer) or "small" (small talk).

        Returns:
            The user's line, the role's line, and the lines of a summary.
        """
        d = self.d
        if kind == "recall" and not self.user_facts:
            kind = "card"
        if kind == "small" or (kind == "tell" and len(self.user_facts) > 5):
            self.value = ""
            line, answer, has_place = small_talk(d, self.name)
            answer = with_address(d, answer, self.address)
            return line, answer, [scene(self.user, self.name, line, d.language)] if has_place else []
        asks = kind in ("recall", "card", "unknown")
        before = self._state_fact() if asks and len(self.user_facts) < 6 and d.chance(0.07) else None
        exchange = {
            "tell": self._state_fact,
            "recall": self._ask_user_fact,
            "card": self._ask_card_fact,
            "unknown": self._ask_unknown,
        }[kind]
        line, answer, summary = exchange()
        if before:  # the user states a fact before the question
            line, summary = before[0] + ("" if d.zh else " ") + line, before[2] + summary
        elif asks and d.chance(0.25):
            line = cards.framed_question(d, line, self.name)
        elif kind == "tell" and d.chance(0.12):
            line = d.of(table("talk", d.language)["greet"]) + line
        return line, answer, summary


def role_sample(d: Dice) -> Sample:
    """Family "role": the role's next line, from its card, the history and the scenes."""
    talk, turns, spans, scenes = RandomConversation(d), [], [], []
    for _ in range(d.count(1, 6) if d.chance(0.45) else 0):
        line, answer, summary = talk.exchange(d.of(["tell", "tell", "card"]))
        if len(summary) == 1 and d.chance(0.3):  # as Summarize keeps a turn that its model did not condense
            turn = (talk.name, answer) if talk.value else (talk.user, line)
            summary = [render.quoted(*turn, d.language)]
        scenes += [Scene(text=text, turn_ids=()) for text in summary]
    if d.chance(0.3):  # the role greets first
        greeting = d.of(table("talk", d.language)["greetings"]).format(p=d.place(), t=roles.thing(d))
        if d.chance(0.3):
            greeting += ("" if d.zh else " ") + roles.fact(d, "story").answer
        turns.append(Turn(speaker=talk.name, text=with_address(d, greeting, talk.address)))
    # Many exchanges per card: all answers in the history have a loss, and the card is read once for all of them.
    for n in range(d.random.randint(0, 2) if d.chance(0.25) else d.random.randint(5, 12)):
        kinds = 2 * ["tell"] + 2 * ["recall"] + 4 * ["card"] + 3 * ["unknown"] + ["small"]
        line, answer, _ = talk.exchange("small" if n == 0 and d.chance(0.25) else d.of(kinds))
        turns += [Turn(speaker=talk.user, text=line), Turn(speaker=talk.name, text=answer)]
        spans.append(render.quoted(talk.name, answer, d.language))
    line, answer, _ = talk.exchange(d.of(3 * ["recall"] + 4 * ["card"] + 3 * ["unknown"] + ["tell", "small"]))
    blocks = [render.scene_block(scenes, d.language, "pocket"), render.transcript(turns, d.language)]
    if turns and d.chance(0.08):
        blocks.append(render.recalled_block(d.random.sample(turns, 1), d.language, prompts="pocket"))
    blocks.append(render.quoted(talk.user, line, d.language))
    conversation = "\n".join(block for block in blocks if block)
    prefix = render.speech_prefix(talk.name, d.language)
    card = render.card(talk.role, d.language, prompts="pocket")
    rendered = prompt_messages(
        "generate", d.language, prefix, name=talk.name, user=talk.user, card=card, conversation=conversation
    )
    statements = [
        s.text
        for part in (talk.role.background, talk.role.personality, talk.role.speaking_style, talk.role.relations)
        for s in part
    ]
    sentences = (*statements, *(t.text for t in turns), *(s.text for s in scenes))
    close = render.MARKS[d.language][1]
    return Sample("role", d.language, rendered, answer + close, talk.value or answer, tuple(spans), sentences, line)


def summarize_sample(d: Dice) -> Sample:
    """Family "summarize": a conversation condensed to scenes that keep the stated facts."""
    talk, turns, scenes = RandomConversation(d), [], []
    for _ in range(d.count(1, 4)):
        line, answer, summary = talk.exchange(d.of(["tell", "tell", "card", "card", "recall", "unknown", "small"]))
        turns += [Turn(speaker=talk.user, text=line), Turn(speaker=talk.name, text=answer)]
        scenes += summary
    if not scenes:
        scenes = [table("talk", d.language)["nothing"].format(u=talk.user, n=talk.name)]
    answer = "\n".join(scenes)
    values = [t.value for t in talk.user_facts] or [answer]
    rendered = prompt_messages("summarize", d.language, conversation=render.transcript(turns, d.language))
    return Sample("summarize", d.language, rendered, answer, "\n".join(values), (), tuple(t.text for t in turns), "")
