"""Reranking: a cross-encoder reads question and passage together, or the chat model does; off by default.

The chat model's score is the likelihood of the question as one that the passage answers (Sachan et al. 2022, "Improving
Passage Retrieval with Zero-Shot Question Generation"). docs/notes/retrieval.md has what it gains and costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from egosrag.errors import ModelError, SettingsError
from egosrag.models.runtime.checkpoint import checkpoint_folder
from egosrag.models.weights import load_encoder
from egosrag.prompts import load
from egosrag.text.language import language_of

_CHARACTERS = 900  # of a passage that the chat model reads


class Reranks(Protocol):
    """What :class:`~egosrag.rag.retrieval.search.Retriever` needs of a reranker."""

    @property
    def reads(self) -> int:
        """Number of the first passages that are reranked."""

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """The relevance of each passage to the question, 0 to 1."""


class LikelihoodReranker:
    """The chat model as the reranker: how likely the question is, given a passage that answers it."""

    reads = 5

    def __init__(self, model: Any) -> None:
        """Use a model.

        Args:
            model: a chat model that states likelihoods: a checkpoint or a GGUF file, no server.

        Raises:
            SettingsError: the model states no likelihoods.
        """
        if not hasattr(model, "log_likelihoods"):
            raise SettingsError(
                "reranker=model needs a model on this machine, which states likelihoods: give a folder, a GGUF file or "
                "a hub id as --model, or leave reranker out"
            )
        self._model = model

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """The likelihood of the question after each passage, a token, 0 to 1.

        Raises:
            ModelError: the model fails.
            WindowError: passage and question are longer than the context window.
        """
        prompt = load("rerank", language_of(question))
        scores = []
        for passage in passages:
            messages = prompt.messages(source=passage[:_CHARACTERS])
            stated = self._model.log_likelihoods(messages, question)
            scores.append(math.exp(sum(stated) / max(1, len(stated))))
        return scores


class Reranker:
    """A sentence-transformers ``CrossEncoder`` with one output, by its hub id or folder."""

    reads = 10

    def __init__(self, name: str) -> None:
        """Load the model.

        Raises:
            ModelError: the model cannot be loaded safely and whole, or does not give one score for each pair.
        """
        from sentence_transformers import CrossEncoder

        self._model = load_encoder(CrossEncoder, checkpoint_folder(name), name, max_length=512)
        if self._model.num_labels != 1:
            raise ModelError(
                f"{name} is no reranker: it gives {self._model.num_labels} scores for a pair, a reranker gives one"
            )
        self.name = name

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """The relevance of each passage to the question, 0 to 1."""
        from torch.nn import Sigmoid

        pairs = [(question, passage) for passage in passages]
        scores = self._model.predict(pairs, activation_fn=Sigmoid(), show_progress_bar=False)
        return [float(score) for score in scores]
