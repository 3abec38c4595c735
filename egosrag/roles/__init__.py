"""Role cards, lorebooks and personas: their file formats, and which lorebook entries a conversation activates.

Read in this order:

1. ``files``: load and save role files (our JSON, or a character card as JSON or PNG) and personas.
2. ``cards``: convert between character cards V1, V2, V3 and the fields of a :class:`egosrag.schema.Role`.
3. ``png``: the text chunks of a PNG file, where a card is embedded.
4. ``lorebook``: load lorebooks, and select the entries that the last lines of a conversation activate.
"""
