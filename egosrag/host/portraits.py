"""A portrait of a role: the picture of its card, else one drawn from its name, always the same for the same name."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from egosrag.host.cards import StoredRole

# Background, clothes and hair of muted colours that suit a light and a dark page; skin tones apart from them.
_PALETTES = (
    ("#dbe7e3", "#35635b", "#23302d"),
    ("#efe2cf", "#9c6b2f", "#3d2a1e"),
    ("#dde3ef", "#4e6390", "#20283b"),
    ("#f0dcd8", "#9a5347", "#5a2b22"),
    ("#e5e8d6", "#6c7a3f", "#8d7a5c"),
    ("#e6deee", "#6c5687", "#8f8f96"),
)
_SKIN = ("#f0c9a8", "#d9a47c", "#b07850", "#7f5339", "#f3d6bd")
_SIDE = 160  # pixels
_HAIR = (
    '<path d="M27 44c-2-20 8-29 23-29s25 9 23 29c-3-9-9-14-23-14s-20 5-23 14z" fill="{0}"/>',
    '<path d="M25 66c-5-31 4-51 25-51s30 20 25 51c-5 1-8 0-9-2 4-14 3-24-2-31-8 4-20 4-28 0-5 7-6 17-2 31-1 2-4 3-9 2z"'
    ' fill="{0}"/>',
    '<path d="M28 42c0-16 8-26 22-26s22 10 22 26c-4-8-6-11-12-12-8 3-20 1-24-3-4 4-6 8-8 15z" fill="{0}"/>'
    '<circle cx="50" cy="13" r="8" fill="{0}"/>',
    '<path d="M29 40c1-15 9-23 21-23s20 8 21 23c-6-7-12-9-21-9s-15 2-21 9z" fill="{0}"/>'
    '<path d="M34 55c2 13 9 17 16 17s14-4 16-17c-5 5-10 6-16 6s-11-1-16-6z" fill="{0}"/>',
)


def drawn_portrait(name: str) -> str:
    """A drawn bust as SVG. Nothing of the name is in it, so that any name is safe."""
    digest = sha256(name.encode()).digest()
    ground, clothes, hair = _PALETTES[digest[0] % len(_PALETTES)]
    skin, style = _SKIN[digest[1] % len(_SKIN)], _HAIR[digest[2] % len(_HAIR)]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" width="320" height="320">'
        f'<rect width="100" height="100" fill="{ground}"/>'
        f'<path d="M14 100c2-20 16-28 36-28s34 8 36 28z" fill="{clothes}"/>'
        f'<path d="M42 62h16v13a8 8 0 0 1-16 0z" fill="{skin}"/>'
        f'<ellipse cx="50" cy="46" rx="20" ry="23" fill="{skin}"/>{style.format(hair)}</svg>'
    )


def portrait(stored: StoredRole | None, name: str) -> str:
    """The picture of a role's card, else a drawn one, as a ``data:`` address that a page shows without a request.

    Args:
        stored: the role; None where it no longer exists.
        name: its name.
    """
    if picture := stored.thumbnail(_SIDE) if stored else None:
        return f"data:image/png;base64,{b64encode(picture).decode()}"
    return f"data:image/svg+xml;base64,{b64encode(drawn_portrait(name).encode()).decode()}"
