"""The values of the newest checkpoints in memory, so that the changes before them are not read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

_KNOWN_SESSIONS = 8  # whose newest values a store keeps in memory


class KnownValues:
    """A mixin before LangGraph's class: the values of the newest checkpoint of a session are kept in memory.

    LangGraph rebuilds what is stored as changes from the last snapshot on, at the beginning of each run. A checkpoint
    never changes, so where its values are known nothing has to be read, whoever else writes to the store.
    """

    _known: dict[str, tuple[str, Mapping[str, Any]]]  # by session: the checkpoint's id and its values

    def remember(self, session: str, checkpoint: str, values: Mapping[str, Any]) -> None:
        """Keeps the values of a checkpoint; only those of one are kept for each of the last sessions."""
        self._known.pop(session, None)
        while len(self._known) >= _KNOWN_SESSIONS:
            del self._known[next(iter(self._known))]
        self._known[session] = checkpoint, values

    def get_delta_channel_history(self, *, config: RunnableConfig, channels: Sequence[str]) -> Mapping[str, Any]:
        """As LangGraph's."""
        place = config["configurable"]
        checkpoint, values = self._known.get(place["thread_id"], ("", {}))
        if place.get("checkpoint_id") == checkpoint and all(channel in values for channel in channels):
            return {channel: {"writes": [], "seed": values[channel]} for channel in channels}
        return super().get_delta_channel_history(config=config, channels=channels)  # type: ignore[misc, no-any-return]
