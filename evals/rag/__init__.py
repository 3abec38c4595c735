"""Manual QA with and without the document (report 6.3, table 1).

In the order of a run: ``questions`` (documents and rows) → ``systems`` (with and without the document) → ``run`` →
``scorer`` (overlap, pages, citations, refusals; ``correctness`` needs no judge) → ``calibration`` (when to refuse by
the evidence alone) → ``judge`` (correctness by an LLM) → ``report``.
"""
