"""Organize (report 7.2.4): composes the prompt from card, scenes and turns, within the token budget.

Two forms of history: "single" puts the whole conversation into one user message, which fits the way Generate continues
a dialogue, and models trained on single turns; "multiple" gives every turn a message of its own.

Each part of the prompt (``Composed.parts``) is rendered and counted once; the messages, the token ledger and what the
page shows are made from the parts. Whether a conversation fits is decided from the parts' lengths, without composing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from egosrag.egos.card_excerpt import CardExcerpt, excerpt_of
from egosrag.egos.step import CACHED_COUNTS, Count, Step, cached_count
from egosrag.egos.view import Composed, ConversationView, PartName, PromptPart, RecalledTurn
from egosrag.errors import SessionError, WindowError
from egosrag.limits import LINE_CHARACTERS, SESSION_TURNS
from egosrag.prompts import load, render
from egosrag.roles.lorebook import entries_for
from egosrag.roles.notes import notes_of
from egosrag.schema import Evidence, LoreEntry, Persona, Pin, Role, Scene, Turn
from egosrag.text import macros
from egosrag.text.encoding import without_surrogates
from egosrag.text.language import one_line
from egosrag.text.sentences import sentence_spans

History = Literal["single", "multiple"]
LONG_CARD_SHARE = 0.75  # of the window: from here on a card, with the instructions, is looked up in part
CARD_SHARE = 0.5  # of the window, for the part that is then in every prompt, with the instructions


@dataclass(frozen=True)
class _Head:
    """The parts that stay the same from line to line, and the length in tokens of a prompt of these parts alone.

    A card that is long for the window has an excerpt: only the most important statements are in ``card``.
    """

    instructions: PromptPart
    card: PromptPart
    prefix: PromptPart
    tokens: int
    excerpt: CardExcerpt | None = None


class Organize(Step[ConversationView, Composed]):
    """Composes the prompt for the role's next line.

    Args:
        count: number of tokens of a text or of messages, by the model's own tokenizer and template.
        window: tokens that a prompt may have; the reply's share of the model's window is not part of it.
        history: "single" or "multiple".
        quote: whether turns are written between quotation marks (report 7.2.3).
        lookup_budget: tokens reserved for what dynamic Extract retrieves from the role's sources for each line.
        recall_budget: tokens reserved for recalled turns, once there are hidden turns.
        prompts: the set of prompts that the model was trained on (``egosrag.traits``).
    """

    def __init__(
        self,
        count: Count,
        window: int,
        *,
        history: History = "single",
        quote: bool = True,
        lookup_budget: int = 0,
        recall_budget: int = 0,
        prompts: str = "",
    ) -> None:
        self.name = "Organize"
        self.count = cached_count(count)
        self.window = window
        self.history = history
        self.quote = quote
        self.lookup_budget = lookup_budget
        self.recall_budget = recall_budget
        self.prompts = prompts
        self._heads: dict[str, tuple[object, _Head]] = {}
        self._macros: dict[str, tuple[Role, bool, bool]] = {}
        self._turn_parts: dict[tuple[str, str, str], PromptPart] = {}
        self._scene_part: tuple[tuple[Scene, ...], str, PromptPart | None] = ((), "", None)
        self._overhead: int | None = None

    def run(self, value: ConversationView, config: RunnableConfig | None = None) -> Composed:
        """The prompt for ``value``.

        Raises:
            WindowError: it does not fit the window. Only what was retrieved for this line is left out to make it fit,
                the lowest score first.
        """
        view = replace(value, lore=self._active_lore(value), source_hits=self._source_hits(value))
        while self.estimate(view) > self.window and _retrieved(view):
            view = _without_worst_hit(view)
        composed = self.compose(view)
        while composed.tokens > self.window and _retrieved(view):
            view = _without_worst_hit(view)
            composed = self.compose(view)
        if composed.tokens > self.window:
            raise WindowError(self._too_long(composed))
        return composed

    def compose(self, view: ConversationView) -> Composed:
        """The prompt for ``view``, whatever its length."""
        head = self._head(view)
        parts = [head.instructions, head.card, *self._conversation(view), head.prefix]
        messages = self._messages(view, parts)
        # The chat template's own tokens, and those of line breaks, belong to the instructions.
        whole = self.count([*messages, AIMessage(head.prefix.text)])
        rest = max(0, whole - sum(part.tokens for part in parts[1:]))
        parts[0] = replace(head.instructions, tokens=rest)
        names = (view.user_name, *view.others, *(turn.speaker for turn in view.turns))
        speakers = tuple(dict.fromkeys(names))
        line = next((part.text for part in parts if part.name == "line"), "")
        return Composed(
            messages=messages,
            prefix=head.prefix.text,
            speaker=view.role.name,
            speakers=speakers,
            view=view,
            parts=tuple(parts),
            uninformed=tuple(self._template(view, "", line)),
        )

    def compose_user_line(self, view: ConversationView) -> Composed:
        """The prompt for a draft of the user's next line; the oldest turns are left out where it would be too long."""
        language, user = view.language, view.user_name
        prefix = render.reply_prefix(user, language, quote=self.quote)
        head = self._part("card", self._head(view).card.text)
        turns = [self._turn(turn, language) for turn in view.visible_turns]
        prompt = load("impersonate", language, self.prompts)
        names = {"name": one_line(view.role.name), "user": one_line(user), "card": head.text}
        while True:
            conversation = "\n".join(part.text for part in turns)
            messages = prompt.messages(conversation=conversation, **names)
            tokens = self.count([*messages, AIMessage(prefix)])
            if tokens <= self.window or len(turns) < 2:
                break
            del turns[: max(1, len(turns) // 8)]
        rest = max(0, tokens - sum(part.tokens for part in (head, *turns)))
        return Composed(
            messages=tuple(messages),
            prefix=prefix,
            speaker=user,
            speakers=tuple(dict.fromkeys((view.role.name, *view.others))),
            view=view,
            parts=(PromptPart("template", "", rest), head, *turns, PromptPart("prefix", prefix, 0)),
        )

    def fits(self, view: ConversationView, share: float = 1.0) -> bool:
        """Whether the prompt takes at most ``share`` of its budget; retrieved parts have a budget of their own."""
        budget = self.window - self.lookup_budget - (self.recall_budget if view.has_hidden_turns else 0)
        budget -= self.lore_budget if view.role.lorebook else 0
        budget -= self.detail_budget if self._head(view).excerpt else 0
        return self.estimate(replace(view, recalled=(), source_hits=(), lore=())) <= budget * share

    def estimate(self, view: ConversationView) -> int:
        """Length of the prompt for ``view`` in tokens, from the cached lengths of its parts, without composing it.

        Exact for tokenizers that do not join tokens over a line break, as those of Qwen; else some tokens too many.
        """
        parts = self._conversation(view)
        tokens = self._head(view).tokens + sum(part.tokens for part in parts)
        if self.history == "multiple":
            tokens += self._message_overhead * max(0, _block_count(parts, view.role.name) - 1)
        return tokens

    def accept(self, view: ConversationView, line: str) -> Turn:
        """The user's line as a turn, if it can be answered at all.

        Raises:
            SessionError: the line is empty or too long, or the session has too many turns.
            WindowError: card and line alone do not fit the window.
        """
        if not line.strip():
            raise SessionError("the line is empty: write what you want to say")
        if len(line) > LINE_CHARACTERS:
            size = f"the line has {len(line):,} characters, and at most {LINE_CHARACTERS:,} are allowed"
            raise SessionError(f"{size}: split it, or give it as a source")
        if len(view.turns) + 2 > SESSION_TURNS:
            raise SessionError(f"the session has {len(view.turns):,} turns, which is the limit: begin another one")
        turn = Turn(speaker="", text=macros.fill(without_surrogates(line), view.macro_scope).strip())
        if not turn.text:
            raise SessionError("the line is empty but for comments: write what you want to say")
        turn = turn.model_copy(update={"speaker": view.with_turn(turn).user_name})
        alone = replace(view, turns=(turn,), scenes=())
        if self.estimate(alone) > self.window and (composed := self.compose(alone)).tokens > self.window:
            raise WindowError(self._too_long(composed))
        return turn

    @property
    def lore_budget(self) -> int:
        """Tokens of the window that a lorebook may take."""
        return min(self.window // 8, 1000)

    @property
    def detail_budget(self) -> int:
        """Tokens of the window for what is looked up in a long card for each line."""
        return min(self.window // 8, 1000)

    def pins_fit(self, view: ConversationView) -> bool:
        """Whether the pins take at most an eighth of the window."""
        return len(self._shown_pins(view)) == len(view.pins)

    def _shown_pins(self, view: ConversationView) -> tuple[Pin, ...]:
        """The pins that fit an eighth of the window, the first ones where there are more.

        Others may come from another program, or from a model with a larger window.
        """
        budget = max(self.window // 8, 32)

        def too_long(number: int) -> bool:
            return self.count(render.pin_block(view.pins[:number], view.language, self.prompts)) > budget

        if not too_long(len(view.pins)):
            return view.pins
        return view.pins[: bisect_left(range(len(view.pins) + 1), True, key=too_long) - 1]

    def card_report(self, role: Role, persona: Persona | None = None) -> str:
        """What of a card fits the window, in one line; empty where all of it does."""
        view = ConversationView(role=role, persona=persona, user=persona.name if persona else "")
        head = self._head(view)
        if head.excerpt is None:
            return ""
        whole = self.count(render.card(role, view.language, persona, self.prompts, view.situation))
        return (
            f"the card of {role.name} has {whole} tokens, and the window {self.window}: its most important "
            f"{head.card.tokens} are in every prompt, the others are looked up for each line"
        )

    def _source_hits(self, view: ConversationView) -> tuple[Evidence, ...]:
        """What was retrieved from the role's sources, and from its card where that is long."""
        excerpt = self._head(view).excerpt
        if excerpt is None:
            return view.source_hits
        lines = " ".join(turn.text for turn in view.turns[-3:])
        places = excerpt.retrieve(view.turns[-1].text, self.detail_budget, self.count) if view.turns else ()
        if not places:  # a short line goes on with what was said before
            places = excerpt.retrieve(lines, self.detail_budget, self.count)
        scope = view.macro_scope
        return (*view.source_hits, *(p.model_copy(update={"quote": macros.fill(p.quote, scope)}) for p in places))

    def _head(self, view: ConversationView) -> _Head:
        """Instructions, card and prefix of a role: rendered again only when the card, or who talks, changes."""
        has_macros, uses_clock = self._macros_of(view.role)
        situation = (view.seed if has_macros else "", view.situation.at if uses_clock else None)
        key = (view.role, view.persona, view.raw_sources, view.user_name, view.others, view.language, situation)
        cached = self._heads.get(view.role.name)
        if cached is None or cached[0] != key:
            cached = self._heads[view.role.name] = (key, self._new_head(view))
        return cached[1]

    def _macros_of(self, role: Role) -> tuple[bool, bool]:
        """Whether the card has macros, and whether one of them depends on the time."""
        known = self._macros.get(role.name)
        if known is None or known[0] is not role:
            known = self._macros[role.name] = (role, render.has_macros(role), render.uses_clock(role))
        return known[1], known[2]

    def _new_head(self, view: ConversationView) -> _Head:
        language, name = view.language, view.role.name
        situation = view.situation._replace(turn="")  # the card stays the same from line to line

        def card_of(role: Role) -> str:
            return render.card(role, language, view.persona, self.prompts, situation)

        card = view.raw_sources or card_of(view.role)
        prefix = render.reply_prefix(name, language, quote=self.quote)
        instructions = "\n".join(str(message.text) for message in self._template(view, "", "") if message.text)

        def tokens_with(card: str) -> int:
            # Templates write an empty message in another way, or not at all.
            shortest = [*self._template(view, card, "a"), AIMessage(prefix)]
            return self.count(shortest) - self.count("a")

        tokens, excerpt = tokens_with(card), None
        if tokens > self.window * LONG_CARD_SHARE and not view.raw_sources:
            bare = card_of(Role(name=view.role.name, nickname=view.role.nickname))
            budget = int(self.window * CARD_SHARE) - tokens_with(bare)
            excerpt = excerpt_of(view.role, max(0, budget), self.count)
            card = card_of(excerpt.role)
            tokens = tokens_with(card)
        return _Head(
            instructions=self._part("template", instructions),
            card=self._part("card", card),
            prefix=self._part("prefix", prefix),
            tokens=tokens,
            excerpt=excerpt,
        )

    def _template(self, view: ConversationView, card: str, conversation: str) -> list[BaseMessage]:
        user = ("、" if view.language == "zh" else ", ").join((view.user_name, *view.others))
        return load("generate" if self.quote else "generate_plain", view.language, self.prompts).messages(
            name=one_line(view.role.name), user=one_line(user), card=card, conversation=conversation
        )

    def _conversation(self, view: ConversationView) -> list[PromptPart]:
        """Scenes, turns and the line, in the order of the prompt.

        What was retrieved for the last line is just before it, so that the prompt's beginning stays cached.
        """
        language = view.language
        write = render.quoted if self.quote else render.plain
        parts: list[PromptPart] = []
        if pins := render.pin_block(self._shown_pins(view), language, self.prompts):
            parts.append(self._part("scenes", pins))
        if scenes := self._scenes(view.visible_scenes, language):
            parts.append(scenes)
        turns = view.visible_turns
        if not turns:
            return parts
        *past, last = turns
        placed = self._placed(view, len(turns))
        for number, turn in enumerate(past):
            parts += placed.get(len(turns) - number, ())
            parts.append(self._turn(turn, language))
        parts += placed.get(1, ())
        behind = placed.get(0, [])
        if self.prompts:  # models that were trained on prompts of their own have seen nothing behind the line
            parts, behind = parts + behind, []
        lore = render.lore_block([e for e in view.lore if e.depth is None], language, self.prompts)
        sources = render.source_block(view.source_hits, view.role.name, language, self.prompts)
        dates = {hit.turn.id: hit.when for hit in view.recalled}
        recalled = render.recalled_block((hit.turn for hit in view.recalled), language, dates, self.prompts)
        blocks: tuple[tuple[PartName, str], ...] = (("lore", lore), ("lore", sources), ("recalled", recalled))
        parts += [self._part(name, text) for name, text in blocks if text]
        return [*parts, self._part("line", write(last.speaker, last.text, language), last.speaker), *behind]

    def _placed(self, view: ConversationView, messages: int) -> dict[int, list[PromptPart]]:
        """Notes and lorebook entries with a place among the messages, by the number of messages that follow them.

        What would be further back than the first message is in front of that one; 0 is behind the last.
        """
        placed: dict[int, list[PromptPart]] = {}
        for depth in sorted({entry.depth for entry in view.lore if entry.depth is not None}, reverse=True):
            text = render.lore_block([e for e in view.lore if e.depth == depth], view.language, self.prompts)
            placed.setdefault(min(depth, messages), []).append(self._part("lore", text))
        budget = max(self.window // 8, 16)
        for note in notes_of(view.role, view.note):
            text = render.note_block(note.text, view.macro_scope, view.language, self.prompts)
            text = self._shortened(text, budget)
            budget -= self.count(text) if text else 0
            if text:
                placed.setdefault(min(note.depth, messages), []).append(self._part("note", text))
        return placed

    def _shortened(self, text: str, budget: int) -> str:
        """The first sentences of a text that fit the budget."""
        if self.count(text) <= budget:
            return text
        ends = [end for _, end in sentence_spans(text)]
        fitting = bisect_right(ends, budget, key=lambda end: self.count(text[:end].rstrip()))
        return text[: ends[fitting - 1]].rstrip() if fitting else ""

    def _turn(self, turn: Turn, language: str) -> PromptPart:
        """A turn of the history, rendered once in a conversation."""
        key = (turn.speaker, turn.text, language)
        part = self._turn_parts.get(key)
        if part is None:
            if len(self._turn_parts) >= CACHED_COUNTS:
                self._turn_parts.clear()
            write = render.quoted if self.quote else render.plain
            part = self._turn_parts[key] = self._part("history", write(turn.speaker, turn.text, language), turn.speaker)
        return part

    def _scenes(self, scenes: tuple[Scene, ...], language: str) -> PromptPart | None:
        """The scenes as a part, rendered again only when there are others."""
        before, in_language, part = self._scene_part
        if before is not scenes or in_language != language:
            text = render.scene_block(scenes, language, self.prompts)
            part = self._part("scenes", text) if text else None
            self._scene_part = (scenes, language, part)
        return part

    def _part(self, name: PartName, text: str, speaker: str = "") -> PromptPart:
        # Counted with the following line break: many tokenizers merge it with the quotation mark before it.
        followed = name not in ("line", "prefix", "template", "card")
        return PromptPart(name, text, self.count(f"{text}\n" if followed else text) if text else 0, speaker)

    def _messages(self, view: ConversationView, parts: Sequence[PromptPart]) -> tuple[BaseMessage, ...]:
        card = next(part.text for part in parts if part.name == "card")
        conversation = [part for part in parts if part.name not in ("template", "card", "prefix")]
        if self.history == "single":
            return tuple(self._template(view, card, "\n".join(part.text for part in conversation)))
        blocks = _blocks(conversation, view.role.name) or [(False, "")]
        instructions = [message for message in self._template(view, card, "") if message.text]
        return (*instructions, *(AIMessage(text) if spoken else HumanMessage(text) for spoken, text in blocks))

    @property
    def _message_overhead(self) -> int:
        """Tokens that the chat template adds for each message of a history of several messages."""
        if self._overhead is None:
            words = [HumanMessage("a"), AIMessage("b"), HumanMessage("c")]
            one, three = self.count(words[:1]), self.count(words)
            text = sum(self.count(str(message.text)) for message in words[1:])
            self._overhead = max(0, -(-(three - one - text) // 2))
        return self._overhead

    def _active_lore(self, view: ConversationView) -> tuple[LoreEntry, ...]:
        """The entries of the role's lorebook that the last lines activate."""
        book = view.role.lorebook
        if book is None:
            return ()
        said = (view.role.name, *view.others)
        entries = entries_for(
            book,
            [turn.text for turn in view.turns],
            self.lore_budget,
            lambda text: self.count(f"- {text}\n"),
            replies=[turn.speaker in said for turn in view.turns],
            scope=view.macro_scope,
        )
        return tuple(entries)

    def _too_long(self, composed: Composed) -> str:
        ledger, over = composed.ledger, composed.tokens - self.window
        shares = {
            "the role card": ledger.template + ledger.card,
            "the memory of earlier turns": ledger.scenes,
            "the line": ledger.history + ledger.line,
        }
        longest = max(shares, key=lambda part: shares[part])
        return (
            f"the prompt is {over} tokens longer than the {self.window} that the model's window leaves it: "
            f"{longest} takes {shares[longest]}; shorten it, or use a model with a longer window"
        )


def _retrieved(view: ConversationView) -> bool:
    return bool(view.recalled or view.source_hits or view.lore)


def _without_worst_hit(view: ConversationView) -> ConversationView:
    """The conversation without the worst hit of what was retrieved for its last line."""
    if view.recalled:
        worst: RecalledTurn = min(view.recalled, key=lambda hit: hit.score)
        return replace(view, recalled=tuple(hit for hit in view.recalled if hit is not worst))
    if view.source_hits:
        return replace(view, source_hits=view.source_hits[:-1])
    return replace(view, lore=view.lore[:-1])


def _block_count(parts: Iterable[PromptPart], name: str) -> int:
    """The number of ``_blocks``."""
    count, before = 0, None
    for part in parts:
        spoken = part.speaker == name
        count += spoken is not before
        before = spoken
    return count


def _blocks(parts: Iterable[PromptPart], name: str) -> list[tuple[bool, str]]:
    """The conversation as alternating messages: (spoken by the role, text).

    A greeting is a message of its own: in one message with the user's line, small models answer the greeting.
    """
    grouped = groupby(parts, key=lambda part: part.speaker == name)
    return [(spoken, "\n".join(part.text for part in group)) for spoken, group in grouped]
