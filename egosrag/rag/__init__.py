"""Manual question answering (report section 6, figure 4), by subject; a question passes through them in this order.

1. ``documents/``: files to clean pages, and pages to passages.
2. ``index/``: BM25 and dense vectors over pages and passages, in memory, in a folder or in PostgreSQL.
3. ``retrieval/``: a question rewritten into queries, the search, the evidence with its confidence.
4. ``answer/``: refuse, quote the manual or let the model write; every sentence with a verified citation.
5. ``integrations/``: adapters of the engine for LangChain and LlamaIndex.
"""
