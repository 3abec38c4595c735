"""Conversations that are stored: the session with its record and branches, stores, export and import.

Persistence is LangGraph's: a session is a thread of checkpoints, a regenerated reply ("swipe") a fork. Read in this
order:

- ``conversation``: ``Conversation``, the session with one role: lines, replies, swipes, edits.
- ``memories``: what it remembers, line by line: see, pin, correct, forget, carry.
- ``memory_store``: the same for the graphs of other programs, as a LangGraph ``BaseStore``.
- ``actions``: its further methods: continue, impersonate, retry, branch, rename, pin, search.
- ``greetings``: the greetings of a card as the first turn and its siblings.
- ``group``: ``GroupChat``, the same with several roles.
- ``records``: ``Record``, the turns, scenes and siblings of replies as one immutable value.
- ``thread``: the stored session: read, written, and repaired after an interruption.
- ``store``: opens a store, and saves replies while they are generated.
- ``durable_store``: what a durable store adds to a checkpointer: exclusive sessions, trimming, format versions.
- ``deferred_writes``: what the steps of a reply write together; ``known_values``: what is not read again.
- ``summaries``: the table of what lists show.
- ``sqlite``, ``postgres``: the two durable stores.
- ``catalog``: lists, exports, imports and deletes the sessions of a store.
- ``manage``: branches, renames, pins and searches them.
- ``archive``: the JSON format of an exported conversation, with ``json_places`` for the line numbers of its errors.
- ``sillytavern``: the same from and to SillyTavern's chat files.
- ``foreign_chats``: chats of other programs, as ``chat_lines``, of which conversations are made.
- ``chat_trees``: of chats with branches, one path, and the versions beside it.
- ``transfer``: reads and writes conversation files of every format.
"""
