"""The static memory of a session as a memory block of LlamaIndex's ``Memory``."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.memory import Memory

from egosrag.egos.memory_block import SessionMemoryBlock
from egosrag.models.scripted import ScriptedChatModel

WORDY = "Well, the sea is wide and the waves come and go as they have done for ever and a day. " * 3


def memory(block: SessionMemoryBlock) -> Memory:
    return Memory.from_defaults(
        token_limit=200, token_flush_size=40, memory_blocks=[block], tokenizer_fn=lambda text: text.split()
    )


def talk(store: Memory, lines: list[str], reply: str = WORDY) -> str:
    for line in lines:
        store.put(ChatMessage(role=MessageRole.USER, content=line))
        store.put(ChatMessage(role=MessageRole.ASSISTANT, content=reply))
    return "\n".join(str(message.content) for message in store.get())


def block(summary: str, **settings: Any) -> SessionMemoryBlock:
    return SessionMemoryBlock(model=ScriptedChatModel(responses=[summary] * 30), **settings)


LINES = ["I am called Ann and I live in Oslo.", "My code is 4711.", "The weather is fine.", "Tell me of the sea."]


def test_what_left_the_queue_is_shown_as_scenes() -> None:
    own = block("- Me am called Ann and live in Oslo.\n- My code is 4711.", tokens=160)
    shown = talk(memory(own), LINES)
    assert "<earlier>" in shown
    assert "Earlier:\n1. " in shown
    assert "Ann" in shown
    assert "4711" in shown
    assert own.turns[0].text == LINES[0]


def test_what_the_summary_lost_is_kept_word_for_word() -> None:
    shown = talk(memory(block("- They talked.", tokens=160)), LINES)
    assert "Oslo" in shown
    assert "4711" in shown


def test_what_fits_is_shown_as_it_was() -> None:
    own = block("- Not needed.", tokens=5000)
    shown = talk(memory(own), LINES)
    assert 'Me: "I am called Ann and I live in Oslo."' in shown
    assert "Not needed" not in shown


def test_it_speaks_chinese() -> None:
    store = Memory.from_defaults(
        token_limit=90,
        token_flush_size=20,
        memory_blocks=[block("- 我叫小明，住在北京。", tokens=120)],
        tokenizer_fn=list,
    )
    shown = talk(
        store, ["我叫小明，住在北京。", "今天天气很好。", "讲讲大海吧。"], "好的，大海很大，浪花来来去去。" * 3
    )
    assert "小明，住在北京" in shown
