"""The index of documents: pages, passages, BM25 and vectors, in a folder or in PostgreSQL."""
