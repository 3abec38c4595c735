"""A cross-encoder that reads question and passage together and puts the first ten in order; off by default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from egosrag.errors import ModelError

DEPTH = 10


class Reranker:
    """A sentence-transformers ``CrossEncoder`` with one output, by its hub id or folder."""

    def __init__(self, name: str) -> None:
        """Load the model.

        Raises:
            ModelError: there is no such model here, or it does not give one score a pair.
        """
        from sentence_transformers import CrossEncoder

        try:
            self._model: Any = CrossEncoder(name, max_length=512, trust_remote_code=False)
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(f"the reranker {name} cannot be loaded ({reason}): give a folder or a hub id") from error
        if self._model.num_labels != 1:
            raise ModelError(f"{name} gives {self._model.num_labels} scores a pair and not one: name a reranker")
        self.name = name

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """How well each passage answers the question, 0 to 1."""
        from torch.nn import Sigmoid

        pairs = [(question, passage) for passage in passages]
        found = self._model.predict(pairs, activation_fn=Sigmoid(), show_progress_bar=False)
        return [float(score) for score in found]
