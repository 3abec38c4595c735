"""An LLM as a judge (report 6.3.1): evidence before the score, k samples, both orders, people for the doubtful cases.

In the order of a run: ``cases`` (rows to judge) → ``prompt`` (what the judge reads) → ``verdict`` (what it answered,
averaged and doubted) → ``asking`` (one case 2k times; many cases, resumable) → ``report``. People: ``labelling`` asks a
person for the same verdicts, ``agreement`` compares the two.
"""
