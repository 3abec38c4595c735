"""Messages to token ids, in one place for inference and for training.

With a template the tokenizer's own chat template is rendered, and the ids are those of
``tokenizer.apply_chat_template`` with three differences. Text of a message that looks like a special token
(``<|im_end|>`` typed by a user) stays text. A trailing ``AIMessage`` is a prefix that is continued (prefill): no token
closes it and no white space is lost. Messages that the template does not accept are written in another form (``fit``).
Without a template (report 5.2, base models) the contents are joined by newlines.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage

from egosrag.errors import ModelError
from egosrag.prompts.fit import Form, Turn, find_form
from egosrag.text.encoding import without_surrogates

# ``tokenizer.encode`` sets split_special_tokens on the tokenizer itself, so two threads must not encode at once.
_LOCK = threading.RLock()
# Placeholders for special-token text while a template is rendered: private-use characters, which no template trims.
_PLACEHOLDERS = range(0xF0000, 0x10FFFE)
# The form for each template and sequence of roles, by tokenizer.
_FORMS: WeakKeyDictionary[ChatTokenizer, dict[tuple[str, ...], Form]] = WeakKeyDictionary()
_KNOWN_FORMS = 512  # of one tokenizer: a long conversation has another sequence of roles at every turn
# The ids of the last prompt, by tokenizer: a prompt is counted before it is sent, and is the same then.
_LAST: WeakKeyDictionary[ChatTokenizer, tuple[tuple[Any, ...], tuple[int, ...]]] = WeakKeyDictionary()
# Ids of texts between special tokens, by tokenizer: of a long prompt all but the end was encoded for the line before.
_PARTS: WeakKeyDictionary[ChatTokenizer, dict[str, tuple[int, ...]]] = WeakKeyDictionary()
_KNOWN_PARTS = 2048  # of one tokenizer
_PART_CHARACTERS = 20_000  # of a text that is kept
# Whether a tokenizer gives the same ids for the parts as for the whole, by tokenizer and special tokens.
_EXACT: WeakKeyDictionary[ChatTokenizer, dict[frozenset[str], bool]] = WeakKeyDictionary()
# Added tokens that a model writes in its own replies: text of anybody else that looks like them stays text.
_OWN = frozenset({"<think>", "</think>", "<tool_call>", "</tool_call>"})
_ROLES: dict[type[BaseMessage], str] = {SystemMessage: "system", HumanMessage: "user", AIMessage: "assistant"}


class ChatTokenizer(Protocol):
    """What is needed of a tokenizer: those of transformers have it, and those of GGUF files."""

    @property
    def chat_template(self) -> Any:
        """Jinja source, or several by name; None for none."""

    @property
    def bos_token_id(self) -> Any:
        """The id of the beginning of sequence; None for none."""

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """Special and added tokens by id; ``str`` gives their text, ``special`` whether they are special."""

    @property
    def added_tokens_encoder(self) -> Mapping[str, int]:
        """Their ids by text."""

    @property
    def all_special_tokens(self) -> Sequence[str]:
        """Texts of the special ones."""

    @property
    def encode(self) -> Callable[..., Sequence[int]]:
        """Ids of a text; takes ``add_special_tokens``, ``split_special_tokens`` and ``verbose``."""

    @property
    def apply_chat_template(self) -> Callable[..., Any]:
        """The text of a conversation; takes ``tokenize`` and ``add_generation_prompt``."""


def encode(tokenizer: ChatTokenizer, messages: Sequence[BaseMessage], *, template: bool = True) -> list[int]:
    """The token ids of a prompt.

    Args:
        tokenizer: a Hugging Face tokenizer, or that of a GGUF file.
        messages: system, human and AI messages with text contents; a trailing AIMessage is continued.
        template: False leaves out the chat template: contents joined by newlines (report 5.1, 5.2).

    Returns:
        Token ids, one flat list.

    Raises:
        ModelError: there are no messages, one is not text or has another role, or the tokenizer has no template
            or one that refuses these messages in every form.
    """
    turns = _turns(messages)
    with _LOCK:
        if not template:
            return _bos(tokenizer) + _encode_as_text(tokenizer, _joined_contents(turns), _special_tokens(tokenizer))
        special = _template_tokens(tokenizer)
        key = (special, str(tokenizer.chat_template), *turns)
        last = _LAST.get(tokenizer)
        if last is None or last[0] != key:
            text, placeholders = _render_template(tokenizer, turns)
            if placeholders:
                ids = tuple(_encode_rendered(tokenizer, text, placeholders))
            elif _is_exact_in_parts(tokenizer, special):
                ids = tuple(_encode_in_parts(tokenizer, text, special))
            else:
                ids = tuple(_ids(tokenizer, text))
            last = _LAST[tokenizer] = (key, ids)
        return list(last[1])


def encode_reply(
    tokenizer: ChatTokenizer, messages: Sequence[BaseMessage], text: str, *, template: bool = True
) -> tuple[list[int], int]:
    """The token ids of a prompt with its reply, and where the reply begins.

    Args:
        tokenizer: as ``encode``.
        messages: as ``encode``; a trailing AIMessage is the beginning of the reply, which ``text`` continues.
        text: the reply, or the rest of it.
        template: as ``encode``.

    Returns:
        All ids, and the number of those before the reply. A token that spans the boundary belongs to the reply.

    Raises:
        ModelError: as ``encode``.
    """
    *before, last = messages
    begun = isinstance(last, AIMessage) and bool(last.text)
    whole = [*before, AIMessage(f"{last.text}{text}")] if begun else [*messages, AIMessage(text)]
    prompt, ids = (encode(tokenizer, m, template=template) for m in (messages, whole))
    same = next((n for n, (a, b) in enumerate(zip(prompt, ids, strict=False)) if a != b), min(len(prompt), len(ids)))
    return ids, min(same, len(ids) - 1)


def render_text(tokenizer: ChatTokenizer, messages: Sequence[BaseMessage]) -> str:
    """The prompt of ``encode`` as text, for a model that takes text only.

    In text a typed ``<|im_end|>`` cannot be distinguished from the template's, so it is escaped.

    Raises:
        ModelError: as ``encode``.
    """
    turns = _turns(messages)
    if not tokenizer.chat_template:
        return _joined_contents([(role, escape_special_tokens(tokenizer, text)) for role, text in turns])
    text, placeholders = _render_template(tokenizer, turns)
    return text.translate({ord(char): _escaped(token) for char, token in placeholders.items()})


def fit_messages(tokenizer: ChatTokenizer, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """``messages`` as the tokenizer's chat template accepts them, for a program that renders it by itself.

    Raises:
        ModelError: as ``encode``.
    """
    turns = _turns(messages)
    kinds = {role: kind for kind, role in _ROLES.items()}
    return [kinds[role](text) for role, text in _form(tokenizer, turns).arrange(turns)]


def escape_special_tokens(tokenizer: ChatTokenizer, text: str) -> str:
    """``text`` with a space after the first character of every special token in it, so that it is read as text."""
    pattern = _pattern(_template_tokens(tokenizer))
    return pattern.sub(lambda match: _escaped(match.group()), text) if pattern else text


def encode_text(tokenizer: ChatTokenizer, text: str) -> list[int]:
    """The ids of ``text`` as a message's content."""
    with _LOCK:
        return _encode_as_text(tokenizer, without_surrogates(text), _template_tokens(tokenizer))


def encode_own_text(tokenizer: ChatTokenizer, text: str) -> list[int]:
    """The ids of ``text`` as the model would write it: ``encode_text``, but with the tokens of thoughts and tool calls.

    An answer to train on has these ids, and so has a reply in the history of ``encode``.
    """
    with _LOCK:
        return _encode_as_text(tokenizer, without_surrogates(text), _foreign_tokens(tokenizer))


def count_text(tokenizer: ChatTokenizer, text: str) -> int:
    """The number of tokens of ``text`` as a message's content."""
    return len(encode_text(tokenizer, text))


def end_of_turn_id(tokenizer: ChatTokenizer) -> int | None:
    """The id of the special token that ends an assistant's turn in the template: ``<|im_end|>`` for Qwen2.5.

    A base checkpoint's end-of-sequence token is another one, so a model tuned on the template would never stop at it.
    """
    if not tokenizer.chat_template:
        return None
    content = chr(_PLACEHOLDERS[0])
    text = _rendered(tokenizer, [("user", "a"), ("assistant", content), ("user", "a")], chr(_PLACEHOLDERS[1]))
    after = text.partition(content)[2]
    pattern = _pattern(_special_tokens(tokenizer))
    match = pattern.match(after.lstrip()) if pattern else None
    return _id(tokenizer, match.group()) if match else None


def _turns(messages: Sequence[BaseMessage]) -> list[Turn]:
    """(role, content) pairs."""
    if not messages:
        raise ModelError("no messages to answer: give the model at least one")
    return [(_role(message), without_surrogates(_text(message))) for message in messages]


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


def _joined_contents(turns: Sequence[Turn]) -> str:
    text = "\n".join(content for _, content in turns if content)
    role, last = turns[-1]
    return text if role == "assistant" and last else text + "\n"


def _render_template(tokenizer: ChatTokenizer, turns: Sequence[Turn]) -> tuple[str, dict[str, str]]:
    """The rendered chat template, with placeholders where contents hold special-token text.

    Returns:
        The text, and the special-token text of each placeholder in it.
    """
    template_tokens = _template_tokens(tokenizer)
    contents = "".join(text for _, text in turns)
    unused = (c for c in map(chr, _PLACEHOLDERS) if c not in contents)
    placeholder_of = {token: next(unused) for token in template_tokens}
    used: set[str] = set()

    # Templates look for thoughts in the model's own replies, and write tool calls there.
    patterns = {True: _pattern(_foreign_tokens(tokenizer)), False: _pattern(template_tokens)}

    def masked(role: str, text: str) -> str:
        pattern = patterns[role == "assistant"]
        if pattern is None:
            return text
        used.update(pattern.findall(text))
        return pattern.sub(lambda match: placeholder_of[match.group()], text)

    safe = [(role, masked(role, text)) for role, text in turns]
    return _rendered(tokenizer, safe, next(unused)), {placeholder_of[token]: token for token in used}


def _rendered(tokenizer: ChatTokenizer, turns: Sequence[Turn], end: str) -> str:
    """The rendered chat template, in the first form that it accepts (``fit``); ``end`` is a character of no turn."""
    from jinja2 import TemplateError

    template = partial(_apply_template, tokenizer)
    known, key = _known_forms(tokenizer), _form_key(tokenizer, turns)
    # A long conversation with one exchange more: the same form, if every message is in what it renders.
    longer = key not in known and key[2:4] == key[4:6] in (("user", "assistant"), ("assistant", "user"))
    likely = known.get((*key[:2], *key[4:])) if longer else None
    try:
        if likely and _contains_all(text := likely.render(template, turns, end), turns):
            known[key] = likely
            return text
    except (TemplateError, TypeError, ValueError):  # find_form says why, or finds another form
        pass
    form = _form(tokenizer, turns)
    try:
        return form.render(template, turns, end)
    except TemplateError as error:  # for what the messages contain: their roles are accepted
        raise ModelError(f"the model's chat template refuses these messages: {error}") from error


def _contains_all(text: str, turns: Sequence[Turn]) -> bool:
    """Whether the contents of all turns are in a rendered prompt, in their order."""
    at = 0
    for _, content in turns:
        content = content.strip()
        at = text.find(content, at) + len(content)
        if at < len(content):
            return False
    return True


def _form(tokenizer: ChatTokenizer, turns: Sequence[Turn]) -> Form:
    """The form for turns of these roles, looked for once."""
    known, key = _known_forms(tokenizer), _form_key(tokenizer, turns)
    if key not in known:
        known[key] = find_form(partial(_apply_template, tokenizer), key[1:])
    return known[key]


def _known_forms(tokenizer: ChatTokenizer) -> dict[tuple[str, ...], Form]:
    if not tokenizer.chat_template:
        raise ModelError(
            "the model's tokenizer has no chat template: use --no-template (template=False), or a checkpoint with one"
        )
    known = _FORMS.setdefault(tokenizer, {})
    while len(known) >= _KNOWN_FORMS:
        del known[next(iter(known))]
    return known


def _form_key(tokenizer: ChatTokenizer, turns: Sequence[Turn]) -> tuple[str, ...]:
    return (str(tokenizer.chat_template), *(role for role, _ in turns))


def _apply_template(tokenizer: ChatTokenizer, turns: Sequence[Turn], generation_prompt: bool) -> str:
    chat = [{"role": role, "content": text} for role, text in turns]
    return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=generation_prompt))


def _encode_rendered(tokenizer: ChatTokenizer, text: str, placeholders: Mapping[str, str]) -> Iterator[int]:
    """Ids of a rendered template: its special tokens as such, and what is between them as plain text.

    A tokenizer splits its input at special tokens before anything else, so the ids of the parts are those of the whole.
    """
    restored = {ord(char): token for char, token in placeholders.items()}
    template_tokens = _template_tokens(tokenizer)
    pattern = _pattern(template_tokens)
    start = 0
    for match in pattern.finditer(text) if pattern else ():
        yield from _encode_as_text(tokenizer, text[start : match.start()].translate(restored), template_tokens)
        yield _id(tokenizer, match.group())
        start = match.end()
    yield from _encode_as_text(tokenizer, text[start:].translate(restored), template_tokens)


def _is_exact_in_parts(tokenizer: ChatTokenizer, special: frozenset[str]) -> bool:
    """Whether the ids of a text are those of its parts between special tokens.

    Not with a tokenizer whose special tokens take the white space beside them, or that marks the beginning of a text.
    """
    known = _EXACT.setdefault(tokenizer, {})
    if special not in known:
        beside = "".join(f"a{token}b {token} c\n{token}\nD" for token in sorted(special))
        known[special] = _ids(tokenizer, beside) == _encode_in_parts(tokenizer, beside, special)
    return known[special]


def _encode_in_parts(tokenizer: ChatTokenizer, text: str, special: frozenset[str]) -> list[int]:
    """Ids of a rendered template, part by part between its special tokens; those of parts are kept."""
    known, pattern = _PARTS.setdefault(tokenizer, {}), _pattern(special)
    id_of = tokenizer.added_tokens_encoder
    ids: list[int] = []
    start = 0
    for match in pattern.finditer(text) if pattern else ():
        ids += _kept_ids(tokenizer, text[start : match.start()], known)
        ids.append(int(id_of[match.group()]))
        start = match.end()
    ids += _kept_ids(tokenizer, text[start:], known)
    return ids


def _kept_ids(tokenizer: ChatTokenizer, text: str, known: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    ids = known.pop(text, None)
    if ids is None:
        ids = tuple(_ids(tokenizer, text))
        if len(text) > _PART_CHARACTERS:
            return ids
        while len(known) >= _KNOWN_PARTS:
            del known[next(iter(known))]
    known[text] = ids  # the least recently used one is dropped first
    return ids


def _encode_as_text(tokenizer: ChatTokenizer, text: str, tokens: Iterable[str]) -> list[int]:
    """Ids of ``text``, with every one of ``tokens`` in it as ordinary characters."""
    # split_special_tokens only affects tokens flagged special; the others are cut in two, which no token spans.
    pattern = _pattern(frozenset(tokens) - _special_tokens(tokenizer))
    ids: list[int] = []
    start = 0
    for match in pattern.finditer(text) if pattern else ():
        ids += _ids(tokenizer, text[start : match.start() + 1], split_special_tokens=True)
        start = match.start() + 1
    return ids + _ids(tokenizer, text[start:], split_special_tokens=True)


def _ids(tokenizer: ChatTokenizer, text: str, *, split_special_tokens: bool = False) -> list[int]:
    if not text:
        return []
    # A template writes its own beginning-of-sequence token: the tokenizer must not add a second. verbose=False: no
    # warning of text longer than the window, since tokens are counted to cut it there.
    ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=split_special_tokens, verbose=False)
    return list(ids)


def _id(tokenizer: ChatTokenizer, token: str) -> int:
    return int(tokenizer.added_tokens_encoder[token])


def _bos(tokenizer: ChatTokenizer) -> list[int]:
    bos: Any = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer.encode("")[:1] == [bos] else []


def _special_tokens(tokenizer: ChatTokenizer) -> frozenset[str]:
    flagged = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return frozenset(flagged | set(tokenizer.all_special_tokens)) - {""}


def _template_tokens(tokenizer: ChatTokenizer) -> frozenset[str]:
    """Special tokens, and added tokens that the template writes itself: some models' role marks are not flagged."""
    template = tokenizer.chat_template
    templates = template.values() if isinstance(template, dict) else [template or ""]
    added = {str(t) for t in tokenizer.added_tokens_decoder.values() if any(str(t) in text for text in templates)}
    return (_special_tokens(tokenizer) | added) - {""}


def _foreign_tokens(tokenizer: ChatTokenizer) -> frozenset[str]:
    """The tokens of the template that a model does not write in its replies."""
    return _template_tokens(tokenizer) - (_OWN - _special_tokens(tokenizer))


@lru_cache(maxsize=64)
def _pattern(tokens: frozenset[str]) -> re.Pattern[str] | None:
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _escaped(token: str) -> str:
    return f"{token[0]} {token[1:]}"
