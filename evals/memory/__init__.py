"""The memory of a conversation: what it recalls, and whether a question about what was said is answered.

Read ``conversations`` (LoCoMo's files, JSONL dialogues), ``retrieval`` (the recalled turns), ``content`` (whether a
reply says what the evidence says), ``answers`` (a model's replies under each kind of memory) and ``command``.
"""

from evals.memory.command import main
from evals.memory.conversations import read_conversations, read_dialogues, read_locomo
from evals.memory.retrieval import score, summary

__all__ = ["main", "read_conversations", "read_dialogues", "read_locomo", "score", "summary"]
