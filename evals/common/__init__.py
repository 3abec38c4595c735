"""What the evaluations share, in the order of a run.

``command`` (options, output, exit codes) → ``questions`` and ``records`` (JSONL in, results out, resumable) →
``models`` (loaded once, when first needed) → ``experiment`` (dataset, target and scorer) → ``facts`` (whether a text
contains a fact) and ``citation_check`` (true and altered sentences before the check of citations) → ``stats`` and
``estimates`` (intervals, as numbers and as text) → ``charts``. ``langsmith`` uploads.
"""
