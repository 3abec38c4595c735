"""A visitor's roles: the samples, and the cards that they uploaded, extracted or edited."""

from __future__ import annotations

import io
import re
import tempfile
import uuid
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from egosrag import assemble, samples
from egosrag.errors import RoleError
from egosrag.host.escape import unique_labels
from egosrag.host.uploads import Upload, display_names_in_errors
from egosrag.host.visitors import Visitor
from egosrag.prompts import render
from egosrag.roles.files import EXTENSIONS, load_role, read_role_file, save_role
from egosrag.roles.pictures import extension_of
from egosrag.schema import Lorebook, Role
from egosrag.settings import Settings
from egosrag.text import macros
from egosrag.text.language import language_of, one_line

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.console import Reporter

__all__ = [
    "EXTENSIONS",
    "Role",
    "StoredRole",
    "about",
    "add",
    "add_upload",
    "delete",
    "export",
    "extract",
    "find",
    "give_lorebook",
    "greeting_line",
    "labels",
    "list_roles",
    "load",
    "read_texts",
    "update",
]
MAX_ROLES = 100  # of one visitor
_OWN_ID = re.compile(r"[0-9a-f]{12}")
_SAMPLES = samples.FOLDER


THUMBNAIL = 320  # pixels, the longer side


class StoredRole(NamedTuple):
    """A stored role card.

    Attributes:
        id: names the role in sessions and on the pages.
        name: the role's name.
        path: file of the card.
        sources: the texts that it was extracted from.
    """

    id: str
    name: str
    path: Path
    sources: tuple[Path, ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether it belongs to the visitor and is no sample."""
        return bool(_OWN_ID.fullmatch(self.id))

    @property
    def picture(self) -> Path | None:
        """The picture that the card was uploaded in."""
        found = sorted(self.path.parent.glob("picture.*")) if self.is_own else []
        return found[0] if found else None

    def thumbnail(self, side: int = THUMBNAIL) -> bytes | None:
        """The picture as a PNG, its longer side ``side`` pixels; None: there is none, or it is damaged or huge."""
        from PIL import Image

        if self.picture is None:
            return None
        small = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(self.picture) as picture:
                    picture.thumbnail((side, side))
                    picture.convert("RGBA").save(small, "PNG")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
            return None
        return small.getvalue()


def list_roles(visitor: Visitor, language: str) -> list[StoredRole]:
    """The visitor's own roles, the newest first, then the samples, those in ``language`` first."""
    own = sorted((visitor.folder / "roles").glob("*/role.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    samples = sorted(
        (path for path in _SAMPLES.glob("*.json") if not path.stem.endswith(".questions")),
        key=lambda path: (not path.stem.endswith("." + language), path.stem),
    )
    return [_stored(path) for path in (*own, *samples)]


def labels(visitor: Visitor, language: str) -> dict[str, str]:
    """The label of each role of :func:`list_roles` in a select box, by id; no two are the same."""
    return unique_labels({role.id: role.name for role in list_roles(visitor, language)})


def load(stored: StoredRole) -> Role:
    """Read the card.

    Raises:
        RoleError: it cannot be read.
    """
    return load_role(stored.path)


def about(role: Role, length: int = 140) -> str:
    """One line about a role, from the first of its statements; empty where it has none."""
    statements = (*role.background, *role.personality, *role.relations, *role.speaking_style)
    texts = (_readable(role, s.text, length) for s in statements)
    return next(filter(None, texts), "")


def greeting_line(role: Role, length: int = 120) -> str:
    """The beginning of a role's greeting, in one line; empty where it has none."""
    return _shortened(render.greeting(role, _language(role)), length)


def _readable(role: Role, text: str, length: int) -> str:
    """The beginning of a text of a card, in one line, with its macros filled in."""
    return _shortened(macros.fill(text, render.macro_scope(role, _language(role))), length)


def _shortened(text: str, length: int) -> str:
    line = one_line(text)
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def _language(role: Role) -> str:
    return role.language or language_of(role.greeting or role.name)


def find(visitor: Visitor, role_id: str) -> StoredRole:
    """The role with this id.

    Raises:
        RoleError: neither the visitor nor the samples have such a role.
    """
    if _OWN_ID.fullmatch(role_id):
        path = visitor.folder / "roles" / role_id / "role.json"
    else:
        path = next((path for path in _SAMPLES.glob("*.json") if path.stem == role_id), _SAMPLES / "none")
    if not path.is_file():
        raise RoleError("this role no longer exists: choose another one, or upload its card again")
    return _stored(path)


def add(
    visitor: Visitor, role: Role, picture: bytes | None = None, texts: Sequence[tuple[str, str]] = ()
) -> StoredRole:
    """Store a new role of the visitor.

    Args:
        visitor: the owner.
        role: the card.
        picture: the picture that the card came in.
        texts: (name, text) pairs that the card was extracted from.

    Raises:
        RoleError: the visitor has too many roles, or the card cannot be written.
    """
    home = visitor.folder / "roles"
    if sum(1 for _ in home.glob("*/role.json")) >= MAX_ROLES:
        raise RoleError(f"you have {MAX_ROLES} roles, which is the limit: delete one of them first")
    folder = home / uuid.uuid4().hex[:12]
    (folder / "sources").mkdir(parents=True)
    if picture and (extension := extension_of(picture)):
        (folder / f"picture.{extension}").write_bytes(picture)
    for number, (_, text) in enumerate(texts):
        (folder / "sources" / f"{number}.txt").write_text(text, encoding="utf-8")
    save_role(role, folder / "role.json")
    return _stored(folder / "role.json")


def add_upload(visitor: Visitor, upload: Upload) -> StoredRole:
    """Store an uploaded card as a new role of the visitor, with its picture.

    Raises:
        RoleError: the file is no role card, or the visitor has too many roles.
    """
    with display_names_in_errors(upload):
        file = read_role_file(upload.path)
    return add(visitor, file.role, picture=file.picture)


def extract(
    settings: Settings,
    visitor: Visitor,
    texts: Sequence[tuple[str, str]],
    name: str,
    model: BaseChatModel,
    progress: Reporter,
) -> StoredRole:
    """Extract a role from texts and store it, with the texts, as a new role of the visitor.

    Args:
        settings: they may name another model for Extract.
        visitor: the owner.
        texts: (name, text) pairs from :func:`read_texts`.
        name: the role's name, as the texts write it.
        model: the chat model.
        progress: called after each chunk.

    Raises:
        SourceError, ModelError, RoleError: see :class:`egosrag.egos.extract.static.Extract`.
    """
    role = assemble.extract_step(assemble.extract_model(settings, model), progress).invoke((list(texts), name))
    return add(visitor, role, texts=texts)


def read_texts(uploads: Sequence[Upload], pasted: str = "", pasted_name: str = "pasted") -> list[tuple[str, str]]:
    """The texts of uploaded files and of a text field, as (name, text) pairs.

    Raises:
        SourceError: a file cannot be read as text.
    """
    from egosrag.rag.documents.load import read_text

    texts = []
    for upload in uploads:
        with display_names_in_errors(upload):
            texts.append((upload.name, read_text(upload.path)))
    return [*texts, *([(pasted_name, pasted.strip())] if pasted.strip() else [])]


def update(visitor: Visitor, stored: StoredRole, role: Role) -> StoredRole:
    """Store an edited card: in place, or as a new role where it was a sample or its name changed.

    Sessions refer to their role by name, so a card with another name is another role.
    """
    if stored.is_own and role.name == stored.name:
        save_role(role, stored.path)
        return stored
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in stored.sources]
    picture = stored.picture.read_bytes() if stored.picture else None
    return add(visitor, role, picture=picture, texts=texts)


def delete(visitor: Visitor, stored: StoredRole) -> None:
    """Delete one of the visitor's own roles with its texts; does nothing for a sample."""
    folder = stored.path.parent
    if stored.is_own and folder.parent == visitor.folder / "roles":
        for file in sorted(folder.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        folder.rmdir()


def export(stored: StoredRole, extension: str) -> bytes:
    """The card as a file: "json" (our format, with evidence), "png" (a character card in its picture) or "charx".

    Raises:
        RoleError: the card cannot be written in that format.
    """
    with tempfile.TemporaryDirectory(prefix="egosrag-") as folder:
        path = Path(folder) / f"card.{extension}"
        save_role(load_role(stored.path), path, picture=None if extension == "json" else stored.picture)
        return path.read_bytes()


def give_lorebook(visitor: Visitor, stored: StoredRole, book: Lorebook | None) -> StoredRole:
    """Make a lorebook part of a role's card; None takes it away. A sample becomes a role of the visitor.

    Raises:
        RoleError: the visitor has too many roles, or the card cannot be written.
    """
    role = load(stored).model_copy(update={"lorebook": book})
    if stored.is_own:
        save_role(role, stored.path)
        return stored
    return update(visitor, stored, role)


def _stored(path: Path) -> StoredRole:
    own = path.name == "role.json"
    sources = (path.parent / "sources").glob("*.txt") if own else path.parent.glob(f"{path.stem}.txt")
    return StoredRole(path.parent.name if own else path.stem, load_role(path).name, path, tuple(sorted(sources)))
