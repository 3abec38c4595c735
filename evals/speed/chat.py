"""A long conversation beside HuggingFacePipeline: the prompts, weights and replies are the same on both sides.

    python -m evals.speed.chat --json
    python -m evals.speed.chat --model FILE.gguf --json

A card of some 600 tokens, 30 turns, 24 new tokens each, greedy, fp32, in Qwen2.5-0.5B's shape with random weights.
``--history single`` puts all turns in one message (report 7.2.3): a reply changes its position when it becomes history,
so its tokens are computed once more. The time to the first token is that of a reply of one token.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.errors import SettingsError
from egosrag.models import load_chat_model
from evals.speed import llama_cpp
from evals.speed.checkpoints import random_words, save_random_checkpoint
from evals.speed.results import Json, Keep, finish

Say = Callable[[Sequence[BaseMessage], int], str]  # (prompt, new tokens) → reply


def prompts(card: str, lines: Sequence[str], replies: Sequence[str], *, single: bool) -> list[BaseMessage]:
    """The prompt of the turn after ``replies``."""
    if not single:
        turns: list[BaseMessage] = [SystemMessage(card)]
        for line, reply in zip(lines, replies, strict=False):
            turns += [HumanMessage(f'Me: "{line}"'), AIMessage(f'Tim: "{reply}"')]
        return [*turns, HumanMessage(f'Me: "{lines[len(replies)]}"'), AIMessage('Tim: "')]
    turns_so_far = [f'Me: "{line}"\nTim: "{reply}"' for line, reply in zip(lines, replies, strict=False)]
    history = "\n".join([*turns_so_far, f'Me: "{lines[len(replies)]}"'])
    return [SystemMessage(card), HumanMessage(history), AIMessage('Tim: "')]


class Tokens(NamedTuple):
    """Tokens of a call: the prompt's, those of them that were computed, and the reply's."""

    prompt: int
    computed: int
    reply: int


def ours(folder: str) -> tuple[Say, Callable[[], Tokens]]:
    """Our chat model, and a function that returns the tokens of the last call."""
    model = load_chat_model(folder)
    last = [Tokens(0, 0, 0)]

    def say(messages: Sequence[BaseMessage], tokens: int) -> str:
        reply = model.invoke(list(messages), max_new_tokens=tokens)
        usage = reply.usage_metadata
        computed = usage["input_tokens"] - usage["input_token_details"]["cache_read"]
        last[0] = Tokens(usage["input_tokens"], computed, usage["output_tokens"])
        return str(reply.text)

    return say, lambda: last[0]


def pipeline(folder: str) -> Say:
    """LangChain's HuggingFacePipeline over the same checkpoint, with the rendered prompt as its input."""
    import torch
    from langchain_huggingface import HuggingFacePipeline
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers import pipeline as make
    from transformers.utils import logging

    logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    llm = HuggingFacePipeline(pipeline=make("text-generation", model=model, tokenizer=tokenizer))

    def say(messages: Sequence[BaseMessage], tokens: int) -> str:
        roles = {"system": "system", "human": "user", "ai": "assistant"}
        chat = [{"role": roles[m.type], "content": str(m.content)} for m in messages]
        text = tokenizer.apply_chat_template(chat, tokenize=False, continue_final_message=True)
        settings = {
            "max_new_tokens": tokens,
            "do_sample": False,
            "return_full_text": False,
            "add_special_tokens": False,
        }
        return str(llm.invoke(text, pipeline_kwargs=settings))

    return say


def measure(
    folder: str, *, turns: int, tokens: int, peers: Sequence[str], single: bool = False, card_words: int = 140
) -> dict[str, Any]:
    """Have the conversation on every side; the prompts of a peer have our replies as history.

    Returns:
        ``ours`` and each of ``peers``: seconds of the whole conversation, first_token_s of the last turn; for ours,
        computed tokens for each new one (the mean over the turns after the first) and whether the last reply is the
        same without the KV cache; for a peer, the share of replies that equal ours. ``ratio`` of the best peer's times
        to ours.
    """
    rng = random.Random(1)
    card, lines = random_words(rng, card_words), [random_words(rng, 8) for _ in range(turns)]
    prompt_of = partial(prompts, card, lines, single=single)
    own, replies = _ours(folder, prompt_of, turns, tokens, single=single)
    sides: dict[str, dict[str, Any]] = {}
    for name in peers:
        print(f"ours: {own['seconds']:.1f} s; {name} begins", file=sys.stderr, flush=True)
        sides[name] = _peer((PEERS | GGUF_PEERS)[name](folder), prompt_of, replies, tokens)
    best = {key: min(side[key] for side in sides.values()) for key in ("seconds", "first_token_s")}
    return {
        "ours": own,
        "peers": sides,
        "ratio": {
            "conversation": best["seconds"] / own["seconds"],
            "first token": best["first_token_s"] / own["first_token_s"],
        },
    }


def _ours(
    folder: str, prompt_of: Callable[[Sequence[str]], list[BaseMessage]], turns: int, tokens: int, *, single: bool
) -> tuple[dict[str, Any], list[str]]:
    say, counts = ours(folder)
    replies: list[str] = []
    work: list[float] = []
    seconds, first, before = 0.0, 0.0, Tokens(0, 0, 0)
    for turn in range(turns):
        prompt = prompt_of(replies)
        if turn == turns - 1:
            first = _timed(say, prompt, 1)[1]
            computed = counts().computed
        reply, took = _timed(say, prompt, tokens)
        now = counts()
        replies.append(reply)
        seconds += took
        if turn:
            # With history in many messages the reply was computed when it was generated.
            new = now.prompt - before.prompt - (0 if single else before.reply)
            work.append((computed if turn == turns - 1 else now.computed) / new)
        before = now
    off = load_chat_model(folder, kv_cache_mb=0)
    return {
        "seconds": seconds,
        "first_token_s": first,
        "turns": turns,
        "prompt tokens of the last turn": before.prompt,
        "computed for each new token": sum(work) / len(work),
        "same without the cache": off.invoke(prompt, max_new_tokens=tokens).text == replies[-1],
    }, replies


def _peer(
    say: Say, prompt_of: Callable[[Sequence[str]], list[BaseMessage]], replies: Sequence[str], tokens: int
) -> dict[str, Any]:
    seconds, same, first = 0.0, 0, 0.0
    for turn, reply in enumerate(replies):
        prompt = prompt_of(replies[:turn])
        if turn == len(replies) - 1:
            first = _timed(say, prompt, 1)[1]
        text, took = _timed(say, prompt, tokens)
        seconds += took
        same += text.strip() == reply.strip()
    return {"seconds": seconds, "first_token_s": first, "same replies": same / len(replies)}


def _timed(say: Say, prompt: Sequence[BaseMessage], tokens: int) -> tuple[str, float]:
    started = time.perf_counter()
    text = say(prompt, tokens)
    return text, time.perf_counter() - started


PEERS: dict[str, Callable[[str], Say]] = {
    "HuggingFacePipeline": pipeline,
    "llama.cpp": llama_cpp.peer("F32"),
    "llama.cpp-Q8_0": llama_cpp.peer("Q8_0"),
}
GGUF_PEERS: dict[str, Callable[[str], Say]] = {
    "llama.cpp's server": llama_cpp.own_server,
    "llama.cpp's server, whole prompts": partial(llama_cpp.own_server, cache=False),
}


def command(
    turns: Annotated[int, typer.Option(min=3, help="Turns of the conversation.")] = 30,
    tokens: Annotated[int, typer.Option(min=1, help="New tokens of each reply.")] = 24,
    history: Annotated[Literal["multiple", "single"], typer.Option(help="How turns become messages.")] = "multiple",
    model: Annotated[str | None, typer.Option(help="A GGUF file, beside llama.cpp's own server with it.")] = None,
    peers: Annotated[
        str | None,
        typer.Option(help=f"Separated by semicolons: {'; '.join(PEERS)}; with --model {'; '.join(GGUF_PEERS)}."),
    ] = None,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Compare a long conversation with the same through HuggingFacePipeline, or llama.cpp."""
    known = GGUF_PEERS if model else PEERS
    chosen = [name.strip() for name in peers.split(";")] if peers else [next(iter(known))]
    if unknown := sorted(set(chosen) - set(known)):
        raise SettingsError(f"unknown peer {unknown[0]}: --peers takes {'; '.join(known)}")
    with tempfile.TemporaryDirectory() as folder:
        if not model:
            save_random_checkpoint(Path(folder), [random_words(random.Random(0), 4000)])
        options = {"turns": turns, "tokens": tokens, "peers": chosen, "single": history == "single"}
        finish("chat", measure(model or folder, **options), as_json=as_json, keep=keep)


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
