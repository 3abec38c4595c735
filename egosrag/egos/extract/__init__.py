"""Extract (report 7.2.2): role cards from texts about a role, and retrieval from these texts.

Read in this order:

- ``static``: reads the sources once, before the conversation, and makes a role card of them.
- ``chunks``: splits sources into sentences and chunks, and selects the chunks to read.
- ``questions``: asks about the role, one thing at a time, over the chapters of a story.
- ``evidence``: parses a model's statements and finds the sentence that supports each; quotes sentences of sources.
- ``mentions``: whether a place of a source is about the role where it is not named.
- ``relations``: relations to others, and whether a text says them in other words.
- ``superseded``: statements that a later place of the sources says are so no longer.
- ``headings``: the heading of a card that a statement's own words decide.
- ``descriptions``: sentences that describe the role in so many words, which need no model.
- ``profile``: sources of lines ``field: value``, which need none either.
- ``claims``: names and numbers of a statement that its evidence does not support.
- ``dialogue``: the role's own lines, found by patterns.
- ``dynamic``: searches the sources for each line of the conversation, or puts them into the prompt as they are.
"""
