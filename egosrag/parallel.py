"""The same work on many inputs: here, one after the other, or on a Ray cluster (``--engine ray``).

Which cluster is Ray's to know: the one of ``RAY_ADDRESS`` or of this machine; without any it uses this machine's
processors. The workers see the same files at the same paths, as on a shared folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol, TypeVar

from egosrag.errors import SettingsError

T = TypeVar("T")
R = TypeVar("R")
Engine = Literal["here", "ray"]
_WAITING = 4  # inputs that wait at a processor: more would only fill the cluster's memory


class Spread(Protocol):
    """Does a function's work on inputs and gives each result with its input's place, as it is done."""

    def __call__(self, work: Callable[[T], R], inputs: Sequence[T]) -> Iterator[tuple[int, R]]:
        """The results, in any order; what the work raises is raised."""


def here(work: Callable[[T], R], inputs: Sequence[T]) -> Iterator[tuple[int, R]]:
    """In this process, one after the other."""
    for place, one in enumerate(inputs):
        yield place, work(one)


def by_ray(work: Callable[[T], R], inputs: Sequence[T]) -> Iterator[tuple[int, R]]:
    """On the processors of a Ray cluster; work of a worker that dies is done again elsewhere.

    Raises:
        SettingsError: Ray is not installed, or its cluster cannot be reached or breaks down.
    """
    if find_spec("ray") is None:
        raise SettingsError("the engine ray needs a package more: pip install 'egosrag[ray]'")
    ray: Any = import_module("ray")
    try:
        _join(ray)
        task = ray.remote(lambda one: work(one))  # Ray takes nothing but functions
        most = max(1, int(ray.cluster_resources().get("CPU", 1))) * _WAITING
        running: dict[Any, int] = {}
        for place, one in enumerate(inputs):
            running[task.remote(one)] = place
            if len(running) >= most:
                yield _first(ray, running)
        while running:
            yield _first(ray, running)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from None
        raise
    except (ray.exceptions.RayError, ConnectionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SettingsError(f"the Ray cluster does not do the work ({reason}): see ray status") from error


def _join(ray: Any) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of what is done here is told to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)


def _first(ray: Any, running: dict[Any, int]) -> tuple[int, Any]:
    """The result that is there first, which it takes out."""
    (done, *_), _ = ray.wait(list(running), num_returns=1)
    return running.pop(done), ray.get(done)


def spread_of(engine: Engine) -> Spread:
    """How an engine spreads work."""
    return by_ray if engine == "ray" else here
