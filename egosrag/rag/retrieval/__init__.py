"""Retrieval: from a question to the passages that may answer it.

Files in reading order:

1. ``query_rewriting``: follow-ups made standalone, decomposition, rewording.
2. ``search``: the top-k passages of one query; ``thesaurus`` (synonyms) and ``reranking`` (cross-encoder) serve it.
3. ``lexical_overlap``: how much of a question a text contains.
4. ``evidence``: the passages of all queries, with a confidence.
5. ``turn_memory``: the same for the past turns of a conversation (dynamic memory).
"""
