"""A long conversation beside HuggingFacePipeline: the prompts, weights and replies are the same on both sides.

    python -m evals.speed.chat --json

A card of some 600 tokens, 30 turns, 24 new tokens each, greedy, fp32, in Qwen2.5-0.5B's shape with random weights.
``--history single`` puts all turns in one message (report 7.2.3): a reply moves when it becomes history, so its ids are
computed once more. The time of a first token is that of a reply of one token.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.errors import SettingsError
from egosrag.models import load_chat_model
from evals.speed import llama
from evals.speed.work import Json, Keep, save_checkpoint, tell, words

Say = Callable[[Sequence[BaseMessage], int], str]


def prompts(card: str, lines: Sequence[str], replies: Sequence[str], *, single: bool) -> list[BaseMessage]:
    """The prompt of the turn after ``replies``."""
    if not single:
        turns: list[BaseMessage] = [SystemMessage(card)]
        for line, reply in zip(lines, replies, strict=False):
            turns += [HumanMessage(f'Me: "{line}"'), AIMessage(f'Tim: "{reply}"')]
        return [*turns, HumanMessage(f'Me: "{lines[len(replies)]}"'), AIMessage('Tim: "')]
    said = [f'Me: "{line}"\nTim: "{reply}"' for line, reply in zip(lines, replies, strict=False)]
    history = "\n".join([*said, f'Me: "{lines[len(replies)]}"'])
    return [SystemMessage(card), HumanMessage(history), AIMessage('Tim: "')]


def ours(folder: str) -> tuple[Say, Callable[[], tuple[int, int]]]:
    """Our chat model, and the ids of the last prompt: how many there were, and how many were computed."""
    model = load_chat_model(folder)
    last = [0, 0]

    def say(messages: Sequence[BaseMessage], tokens: int) -> str:
        reply = model.invoke(list(messages), max_new_tokens=tokens)
        usage = reply.usage_metadata
        last[:] = usage["input_tokens"], usage["input_tokens"] - usage["input_token_details"]["cache_read"]
        return str(reply.text)

    return say, lambda: (last[0], last[1])


def pipeline(folder: str) -> Say:
    """LangChain's HuggingFacePipeline over the same checkpoint, given the rendered prompt."""
    import torch
    from langchain_huggingface import HuggingFacePipeline
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers import pipeline as make
    from transformers.utils import logging

    logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    face = HuggingFacePipeline(pipeline=make("text-generation", model=model, tokenizer=tokenizer))

    def say(messages: Sequence[BaseMessage], tokens: int) -> str:
        roles = {"system": "system", "human": "user", "ai": "assistant"}
        given = [{"role": roles[m.type], "content": str(m.content)} for m in messages]
        text = tokenizer.apply_chat_template(given, tokenize=False, continue_final_message=True)
        settings = {
            "max_new_tokens": tokens,
            "do_sample": False,
            "return_full_text": False,
            "add_special_tokens": False,
        }
        return str(face.invoke(text, pipeline_kwargs=settings))

    return say


def measure(
    folder: str, *, turns: int, tokens: int, peers: Sequence[str], single: bool = False, card_words: int = 140
) -> dict[str, Any]:
    """Talk on every side; a peer is given our replies as the history of its prompts.

    Returns:
        ``ours`` and each of ``peers``: seconds of the whole conversation, first_token_s of the last turn; for ours,
        tokens computed for each that was new (the mean over the turns after the first) and whether the last reply is
        the same without the cache; for a peer, the share of replies that are ours. ``ratio`` of both times to those
        of the best peer.
    """
    rng = random.Random(1)
    card, lines = words(rng, card_words), [words(rng, 8) for _ in range(turns)]
    prompt_of = partial(prompts, card, lines, single=single)
    mine, replies = _ours(folder, prompt_of, turns, tokens, single=single)
    found: dict[str, dict[str, Any]] = {}
    for name in peers:
        print(f"ours: {mine['seconds']:.1f} s; {name} begins", file=sys.stderr, flush=True)
        found[name] = _peer(PEERS[name](folder), prompt_of, replies, tokens)
    best = {key: min(side[key] for side in found.values()) for key in ("seconds", "first_token_s")}
    return {
        "ours": mine,
        "peers": found,
        "ratio": {
            "conversation": best["seconds"] / mine["seconds"],
            "first token": best["first_token_s"] / mine["first_token_s"],
        },
    }


def _ours(
    folder: str, prompt_of: Callable[[Sequence[str]], list[BaseMessage]], turns: int, tokens: int, *, single: bool
) -> tuple[dict[str, Any], list[str]]:
    say, counts = ours(folder)
    replies: list[str] = []
    work: list[float] = []
    seconds, first, before = 0.0, 0.0, 0
    for turn in range(turns):
        prompt = prompt_of(replies)
        if turn == turns - 1:
            first = _timed(say, prompt, 1)[1]
            asked, computed = counts()
        reply, took = _timed(say, prompt, tokens)
        if turn < turns - 1:
            asked, computed = counts()
        replies.append(reply)
        seconds += took
        if turn:
            # In a conversation of many messages the reply was computed when it was said.
            work.append(computed / (asked - before - (0 if single else tokens)))
        before = asked
    off = load_chat_model(folder, kv_cache_mb=0)
    return {
        "seconds": seconds,
        "first_token_s": first,
        "turns": turns,
        "prompt tokens of the last turn": before,
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
    "llama.cpp": llama.peer("F32"),
    "llama.cpp-Q8_0": llama.peer("Q8_0"),
}


def _command(
    turns: Annotated[int, typer.Option(min=3, help="Turns of the conversation.")] = 30,
    tokens: Annotated[int, typer.Option(min=1, help="New tokens of each reply.")] = 24,
    history: Annotated[Literal["multiple", "single"], typer.Option(help="How turns become messages.")] = "multiple",
    peers: Annotated[str, typer.Option(help=f"Peers joined by commas: {', '.join(PEERS)}.")] = "HuggingFacePipeline",
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Compare a long conversation with the same through HuggingFacePipeline, or llama.cpp."""
    wrong = sorted(set(peers.split(",")) - set(PEERS))
    if wrong:
        raise SettingsError(f"unknown peer {wrong[0]}: --peers takes {', '.join(PEERS)}")
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), [words(rng, 4000)])
        tell(
            "chat",
            measure(folder, turns=turns, tokens=tokens, peers=peers.split(","), single=history == "single"),
            as_json=as_json,
            keep=keep,
        )


if __name__ == "__main__":
    from evals.common.command import run

    run(_command)
