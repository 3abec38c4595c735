"""Reranking with a cross-encoder, which reads question and passage together; off by default."""

from __future__ import annotations

from collections.abc import Sequence

from egosrag.errors import ModelError
from egosrag.models.runtime.checkpoint import checkpoint_folder
from egosrag.models.weights import load_encoder

RERANKED = 10  # passages of the search that are reranked


class Reranker:
    """A sentence-transformers ``CrossEncoder`` with one output, by its hub id or folder."""

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
