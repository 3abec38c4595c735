"""Role cards, lorebooks and personas: their file formats, and what of them a conversation uses.

Read in this order:

1. ``files``: load and save role files (our JSON, or a character card in whatever file it is); ``folder``: import many.
2. ``data``: the JSON or YAML in a file, in any encoding; files written atomically.
3. ``png``, ``pictures``, ``charx``, ``byaf``: the text chunks of a PNG, the EXIF data of pictures, the zip of card V3
   and that of Backyard AI.
4. ``cards``: convert between character cards V1, V2, V3 and the fields of a :class:`egosrag.schema.Role`; ``foreign``:
   cards in the keys of other programs, as V2; ``sample_dialogue``: the spoken lines of ``mes_example``.
5. ``notes``: post-history instructions, depth prompt and author's note.
6. ``lorebook``: load lorebooks, and select the entries that the lines of a conversation activate; ``lore_formats``: the
   formats of other programs; ``lore_rules``: when an entry is activated.
7. ``points``: chapters, dates and files as points in the order of a role's sources; ``timeline``: the card as it is
   known at one of them.
8. ``personas``: who talks with a role, and the saved personas of a user.
"""
