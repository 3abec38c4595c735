"""Finished runs for people to look at: what the *Results* page of the app shows (``apps/results.py``).

``files`` finds results, records and answers in a folder; ``charts`` and ``tables`` show results; ``transcripts`` shows
records, sample by sample.
"""
