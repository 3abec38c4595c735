"""Messages to token ids: one place for serving and for training.

Template mode renders the tokenizer's own chat template and gives the ids that ``tokenizer.apply_chat_template``
gives, with two differences. Text of a message that looks like a special token (``<|im_end|>`` typed by a user)
stays text. A trailing ``AIMessage`` is a prefix that is continued: nothing closes it and no white space is lost.
Base mode has no template: report 5.2, for models that were never taught one.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage

from egosrag.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A tokenizer switches split_special_tokens on itself, so two threads must not encode with it at once.
_LOCK = threading.RLock()
# Stand-ins for special-token text while a template is rendered: private-use, so no template trims or reads them.
_STAND_INS = range(0xF0000, 0x10FFFE)
_ROLES: dict[type[BaseMessage], str] = {SystemMessage: "system", HumanMessage: "user", AIMessage: "assistant"}


def encode(tokenizer: PreTrainedTokenizerBase, messages: Sequence[BaseMessage], *, template: bool = True) -> list[int]:
    """The ids of the prompt that ``messages`` make, ready to be generated from.

    Args:
        tokenizer: a Hugging Face tokenizer.
        messages: system, human and AI messages with text contents; a trailing AIMessage is continued.
        template: False leaves the chat template out: contents joined by newlines (report 5.1, 5.2).

    Returns:
        Token ids, one flat list.

    Raises:
        ModelError: there are no messages, one is not text or has another role, or the tokenizer has no template
            or one that refuses these messages.
    """
    turns = _turns(messages)
    with _LOCK:
        if not template:
            return _bos(tokenizer) + _encode_plain(tokenizer, _base_text(turns), _specials(tokenizer))
        text, stand_ins = _render(tokenizer, turns)
        if not stand_ins:
            return _ids(tokenizer, text)
        return list(_encode_split(tokenizer, text, stand_ins))


def render_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[BaseMessage]) -> str:
    """The same prompt as text, for a model that only takes text.

    Text cannot say which ``<|im_end|>`` is meant, so one inside a content gets a space after its first character.

    Raises:
        ModelError: as ``encode``.
    """
    turns = _turns(messages)
    if not tokenizer.chat_template:
        return _base_text([(role, defuse(tokenizer, text)) for role, text in turns])
    text, stand_ins = _render(tokenizer, turns)
    return text.translate({ord(mark): _broken(special) for mark, special in stand_ins.items()})


def defuse(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """``text`` with every special token's text broken by a space, so that no tokenizer reads it as the token."""
    pattern = _pattern(_controls(tokenizer))
    return pattern.sub(lambda found: _broken(found.group()), text) if pattern else text


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of ``text`` as a message's content: training encodes an answer so, after the prompt's ``encode``."""
    with _LOCK:
        return _encode_plain(tokenizer, text, _controls(tokenizer))


def count_text(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """The number of tokens of ``text`` as a message's content."""
    return len(encode_text(tokenizer, text))


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id of the special token with which the template ends an assistant's turn, ``<|im_end|>`` for Qwen2.5.

    A base checkpoint's own end of sequence is another one, so a model tuned on the template would never stop.
    """
    if not tokenizer.chat_template:
        return None
    mark = chr(_STAND_INS[0])
    text = _apply(tokenizer, [("user", "a"), ("assistant", mark)], closed=True)
    after = text.partition(mark)[2]
    pattern = _pattern(_specials(tokenizer))
    found = pattern.match(after.lstrip()) if pattern else None
    return _id(tokenizer, found.group()) if found else None


def _turns(messages: Sequence[BaseMessage]) -> list[tuple[str, str]]:
    if not messages:
        raise ModelError("no messages to answer: give the model at least one")
    return [(_role(message), _text(message)) for message in messages]


def _role(message: BaseMessage) -> str:
    for kind, role in _ROLES.items():
        if isinstance(message, kind):
            return role
    if isinstance(message, ChatMessage) and message.role in _ROLES.values():
        return message.role
    raise ModelError(f"a {message.type} message cannot be put into the prompt: use system, human and AI messages")


def _text(message: BaseMessage) -> str:
    content = message.content
    if not isinstance(content, str) and any(isinstance(b, dict) and b.get("type") != "text" for b in content):
        raise ModelError("this model reads text only: leave images and other blocks out of the messages")
    return str(message.text)


def _base_text(turns: Sequence[tuple[str, str]]) -> str:
    text = "\n".join(content for _, content in turns if content)
    return text if turns[-1][0] == "assistant" else text + "\n"


def _render(tokenizer: PreTrainedTokenizerBase, turns: Sequence[tuple[str, str]]) -> tuple[str, dict[str, str]]:
    """The template's text with stand-ins where contents hold special-token text, and what each stands for."""
    specials, controls = _specials(tokenizer), _controls(tokenizer)
    everything = "".join(text for _, text in turns)
    free = (c for c in map(chr, _STAND_INS) if c not in everything)
    marks = {special: next(free) for special in controls}
    used: set[str] = set()

    def masked(role: str, text: str) -> str:
        # What the model itself said may hold tokens such as <think>, which templates look for: only true special
        # tokens are text there.
        pattern = _pattern(specials if role == "assistant" else controls)
        if pattern is None:
            return text
        used.update(pattern.findall(text))
        return pattern.sub(lambda found: marks[found.group()], text)

    safe = [(role, masked(role, text)) for role, text in turns]
    prefix = None
    if safe[-1][0] == "assistant":
        prefix, end = safe[-1][1], next(free)
        text = _apply(tokenizer, [*safe[:-1], ("assistant", end)], closed=True)
        # A template that drops the last turn (none is known) still gets the prefix, after its own generation prompt.
        text = text.partition(end)[0] if end in text else _apply(tokenizer, safe[:-1], closed=False)
        text += prefix
    else:
        text = _apply(tokenizer, safe, closed=False)
    return text, {marks[special]: special for special in used}


def _apply(tokenizer: PreTrainedTokenizerBase, turns: Sequence[tuple[str, str]], *, closed: bool) -> str:
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise ModelError(
            "the model's tokenizer has no chat template: use --no-template (template=False), or a checkpoint with one"
        )
    for attempt in (list(turns), _without_system(turns)):
        chat = [{"role": role, "content": text} for role, text in attempt]
        try:
            text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=not closed)
        except TemplateError as error:
            refusal = error
        else:
            return str(text)
    raise ModelError(f"the model's chat template refuses these messages: {refusal}")


def _without_system(turns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The system texts put before the first user text, an empty line between: some templates know no system role."""
    system = [text for role, text in turns if role == "system"]
    if not system:
        return list(turns)
    rest = [(role, text) for role, text in turns if role != "system"]
    first = next((i for i, (role, _) in enumerate(rest) if role == "user"), None)
    if first is None:
        return [("user", "\n\n".join(system)), *rest]
    merged = ("user", "\n\n".join([*system, rest[first][1]]))
    return [*rest[:first], merged, *rest[first + 1 :]]


def _encode_split(tokenizer: PreTrainedTokenizerBase, text: str, stand_ins: Mapping[str, str]) -> Iterator[int]:
    """Ids of a rendered template: its special tokens as such, and what lies between as plain text.

    A tokenizer cuts its input at special tokens before anything else, so the pieces' ids are those of the whole.
    """
    restore = {ord(mark): special for mark, special in stand_ins.items()}
    controls = _controls(tokenizer)
    pattern = _pattern(controls)
    start = 0
    for found in pattern.finditer(text) if pattern else ():
        yield from _encode_plain(tokenizer, text[start : found.start()].translate(restore), controls)
        yield _id(tokenizer, found.group())
        start = found.end()
    yield from _encode_plain(tokenizer, text[start:].translate(restore), controls)


def _encode_plain(tokenizer: PreTrainedTokenizerBase, text: str, controls: Iterable[str]) -> list[int]:
    """Ids of ``text`` with every one of ``controls`` in it as ordinary characters."""
    true_specials = _specials(tokenizer)
    # split_special_tokens reaches only tokens flagged special; the others are cut in two, which no token spans.
    pattern = _pattern(set(controls) - true_specials)
    ids: list[int] = []
    start = 0
    for found in pattern.finditer(text) if pattern else ():
        ids += _ids(tokenizer, text[start : found.start() + 1], split_special_tokens=True)
        start = found.start() + 1
    return ids + _ids(tokenizer, text[start:], split_special_tokens=True)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, *, split_special_tokens: bool = False) -> list[int]:
    if not text:
        return []
    # A template writes its own beginning-of-sequence token; the tokenizer must not add a second. Nor does it warn of
    # what is longer than the window: who counts tokens does so to cut there.
    ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=split_special_tokens, verbose=False)
    return list(ids)


def _id(tokenizer: PreTrainedTokenizerBase, special: str) -> int:
    return int(tokenizer.added_tokens_encoder[special])


def _bos(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    bos: Any = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer.encode("")[:1] == [bos] else []


def _specials(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    flagged = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return frozenset(flagged | set(tokenizer.all_special_tokens)) - {""}


def _controls(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """Special tokens, and added tokens that the template writes itself: some models' role marks are not flagged."""
    template = tokenizer.chat_template
    templates = template.values() if isinstance(template, dict) else [template or ""]
    added = {str(t) for t in tokenizer.added_tokens_decoder.values() if any(str(t) in text for text in templates)}
    return (_specials(tokenizer) | added) - {""}


def _pattern(tokens: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _broken(special: str) -> str:
    return f"{special[0]} {special[1:]}"
