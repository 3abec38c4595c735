"""The index of documents, in memory, in a folder or in PostgreSQL.

Files in reading order:

1. ``manual_index``: the index that is searched; build, load, save, cache.
2. ``fields``: the texts of each lexical index; ``bm25``; ``vectors`` (embedders and dense search) and ``e5``.
3. ``bulk``: reading and embedding in shards, here or on a cluster, with checkpoints.
4. ``storage``: the parts of a stored index; ``folder_store``, ``postgres_store``, ``postgres_rows`` and
   ``postgres_checks`` keep them;
   ``safe_files``: files that anybody may have written, and the identity of models.
"""
