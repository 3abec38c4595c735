"""Conversations that last: records, branches, stores, import and export."""
