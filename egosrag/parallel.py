"""Run one function over many inputs: in this process, or in parallel on a Ray cluster (``--engine ray``).

Ray itself chooses the cluster: the one of ``RAY_ADDRESS`` or one that runs on this machine; without either it uses this
machine's processors. The workers must see the same files at the same paths, for example in a shared folder.
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
Backend = Literal["here", "ray"]
_QUEUED_PER_CPU = 4  # inputs submitted at a time: more would only fill the cluster's memory


class Executor(Protocol):
    """Runs a function over inputs and yields (index of the input, result) as results complete."""

    def __call__(self, work: Callable[[T], R], inputs: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Yields the results in any order; an exception from ``work`` is raised."""


def run_serially(work: Callable[[T], R], inputs: Sequence[T]) -> Iterator[tuple[int, R]]:
    """In this process, one input after the other."""
    for index, item in enumerate(inputs):
        yield index, work(item)


def run_on_ray(work: Callable[[T], R], inputs: Sequence[T]) -> Iterator[tuple[int, R]]:
    """On the processors of a Ray cluster; the task of a worker that dies is run again elsewhere.

    Raises:
        SettingsError: Ray is not installed, or its cluster cannot be reached or fails.
    """
    if find_spec("ray") is None:
        raise SettingsError("the engine ray needs an additional package: pip install 'egosrag[ray]'")
    ray: Any = import_module("ray")
    try:
        _connect(ray)
        task = ray.remote(lambda item: work(item))  # Ray accepts plain functions only, no partials
        max_running = max(1, int(ray.cluster_resources().get("CPU", 1))) * _QUEUED_PER_CPU
        running: dict[Any, int] = {}
        for index, item in enumerate(inputs):
            running[task.remote(item)] = index
            if len(running) >= max_running:
                yield _pop_first_done(ray, running)
        while running:
            yield _pop_first_done(ray, running)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from None
        raise
    except (ray.exceptions.RayError, ConnectionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SettingsError(f"the Ray cluster failed ({reason}): see ray status") from error


def executor_for(backend: Backend) -> Executor:
    """The executor of a backend."""
    return run_on_ray if backend == "ray" else run_serially


def _connect(ray: Any) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage statistics
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not ray.is_initialized():
        _print_notices_on_stderr()
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)


def _print_notices_on_stderr() -> None:
    """Ray prints its notices, as of a task without memory, on standard output, and has no setting for it."""
    worker: Any = import_module("ray._private.worker")
    printed = getattr(worker, "print_to_stdstream", None)
    if printed and printed.__module__ == worker.__name__:
        worker.print_to_stdstream = lambda data, ignore_prefix: printed({**data, "is_err": True}, ignore_prefix)


def _pop_first_done(ray: Any, running: dict[Any, int]) -> tuple[int, Any]:
    """The index and result of the first task that is done, removed from ``running``."""
    (done, *_), _ = ray.wait(list(running), num_returns=1)
    return running.pop(done), ray.get(done)
