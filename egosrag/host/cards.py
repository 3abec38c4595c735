"""The roles that a visitor can talk with: the samples, and those that he uploaded, extracted or edited."""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from egosrag import assemble
from egosrag.errors import RoleError
from egosrag.host.shown import distinct
from egosrag.host.uploads import Upload, called
from egosrag.host.visitors import Visitor
from egosrag.roles.files import load_role, save_role
from egosrag.roles.png import SIGNATURE
from egosrag.schema import Role
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.console import Reporter

ENDINGS = ("json", "png")
MOST = 100  # roles of one visitor
_OWN = re.compile(r"[0-9a-f]{12}")
_SAMPLES = assemble.sample("edda.en.json").parent


class Kept(NamedTuple):
    """A role that can be talked with: ``id`` names it, ``sources`` are the texts that it was extracted from."""

    id: str
    name: str
    path: Path
    sources: tuple[Path, ...] = ()

    @property
    def own(self) -> bool:
        """Whether it is the visitor's own, and no sample."""
        return bool(_OWN.fullmatch(self.id))

    @property
    def picture(self) -> Path | None:
        """The picture that its card came in."""
        path = self.path.with_name("picture.png")
        return path if self.own and path.is_file() else None


def roles(visitor: Visitor, language: str) -> list[Kept]:
    """The visitor's own roles, the newest first, then the samples, those in ``language`` first."""
    own = sorted((visitor.folder / "roles").glob("*/role.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    samples = sorted(
        (path for path in _SAMPLES.glob("*.json") if not path.stem.endswith(".questions")),
        key=lambda path: (not path.stem.endswith("." + language), path.stem),
    )
    return [_kept(path) for path in (*own, *samples)]


def names(visitor: Visitor, language: str) -> dict[str, str]:
    """What to call each of :func:`roles` in a list, by its id: no two of them alike."""
    return distinct({kept.id: kept.name for kept in roles(visitor, language)})


def load(kept: Kept) -> Role:
    """The card itself.

    Raises:
        RoleError: it cannot be read.
    """
    return load_role(kept.path)


def find(visitor: Visitor, role_id: str) -> Kept:
    """The role of that id.

    Raises:
        RoleError: the visitor has none of that id, and no sample has it.
    """
    if _OWN.fullmatch(role_id):
        path = visitor.folder / "roles" / role_id / "role.json"
    else:
        path = next((path for path in _SAMPLES.glob("*.json") if path.stem == role_id), _SAMPLES / "none")
    if not path.is_file():
        raise RoleError("this role is not there any more: choose another, or upload its card again")
    return _kept(path)


def keep(visitor: Visitor, role: Role, picture: Path | None = None, texts: Sequence[tuple[str, str]] = ()) -> Kept:
    """Takes a role among the visitor's, with the picture that it came in and the texts that it was made of.

    Raises:
        RoleError: the visitor has too many roles, or it cannot be written.
    """
    home = visitor.folder / "roles"
    if sum(1 for _ in home.glob("*/role.json")) >= MOST:
        raise RoleError(f"you have {MOST} roles already: delete one of them first")
    folder = home / uuid.uuid4().hex[:12]
    (folder / "sources").mkdir(parents=True)
    if picture and (data := picture.read_bytes()).startswith(SIGNATURE):
        (folder / "picture.png").write_bytes(data)
    for number, (_, text) in enumerate(texts):
        (folder / "sources" / f"{number}.txt").write_text(text, encoding="utf-8")
    save_role(role, folder / "role.json")
    return _kept(folder / "role.json")


def add(visitor: Visitor, upload: Upload) -> Kept:
    """Takes an uploaded card among the visitor's roles; what else its picture shows is kept with it.

    Raises:
        RoleError: it is no role card, or the visitor has too many roles.
    """
    with called(upload):
        role = load_role(upload.path)
    return keep(visitor, role, picture=upload.path)


def extract(
    settings: Settings,
    visitor: Visitor,
    texts: Sequence[tuple[str, str]],
    name: str,
    model: BaseChatModel,
    progress: Reporter,
) -> Kept:
    """Extracts a role out of texts and takes it among the visitor's; the texts are kept with it.

    Args:
        settings: what was chosen.
        visitor: whose it will be.
        texts: (name, text) pairs; see :func:`read`.
        name: the role's name, as the texts use it.
        model: the model that speaks; the settings may name another one for Extract.
        progress: is told after each piece.

    Raises:
        SourceError, ModelError, RoleError: see :class:`egosrag.egos.extract.static.Extract`.
    """
    role = assemble.extract_step(assemble.extract_model(settings, model), progress).invoke((list(texts), name))
    return keep(visitor, role, texts=texts)


def read(uploads: Sequence[Upload], pasted: str = "", pasted_as: str = "pasted") -> list[tuple[str, str]]:
    """The texts of uploaded files, and one that was pasted, as (name, text) pairs.

    Raises:
        SourceError: a file cannot be read as text.
    """
    from egosrag.rag.documents.load import read_text

    found = []
    for upload in uploads:
        with called(upload):
            found.append((upload.name, read_text(upload.path)))
    return [*found, *([(pasted_as, pasted.strip())] if pasted.strip() else [])]


def change(visitor: Visitor, kept: Kept, role: Role) -> Kept:
    """Keeps a changed card: in its place, or beside it where it was a sample or has another name now.

    Conversations know their role by name, so that one with another name is another role.
    """
    if kept.own and role.name == kept.name:
        save_role(role, kept.path)
        return kept
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in kept.sources]
    return keep(visitor, role, picture=kept.picture, texts=texts)


def remove(visitor: Visitor, kept: Kept) -> None:
    """Deletes one of the visitor's own roles with its texts; a sample stays."""
    folder = kept.path.parent
    if kept.own and folder.parent == visitor.folder / "roles":
        for file in sorted(folder.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        folder.rmdir()


def download(kept: Kept, ending: str) -> bytes:
    """The card as a file: "json", our own form with its evidence, or "png", a character card in a picture.

    Raises:
        RoleError: the card cannot be written so.
    """
    with tempfile.TemporaryDirectory(prefix="egosrag-") as folder:
        path = Path(folder) / f"card.{ending}"
        save_role(load_role(kept.path), path, picture=kept.picture if ending == "png" else None)
        return path.read_bytes()


def _kept(path: Path) -> Kept:
    own = path.name == "role.json"
    sources = (path.parent / "sources").glob("*.txt") if own else path.parent.glob(f"{path.stem}.txt")
    return Kept(path.parent.name if own else path.stem, load_role(path).name, path, tuple(sorted(sources)))
