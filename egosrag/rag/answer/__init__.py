"""Answers: from evidence to sentences with verified citations.

Files in reading order:

1. ``engine``: the line of figure 4: rewrite, retrieve, decide, answer, verify.
2. ``decision``: refuse, quote the manual or let the model write, with the thresholds.
3. ``extractive``: the excerpt of the manual that answers; ``answer_types``: place, number, price, type;
   ``section_opening``: where the section on a subject begins.
4. ``prompt_passages``: whole lists, no text twice; ``token_budget``: the prompt that fits the model's window;
   ``draft``: the model's answer as it is streamed.
5. ``citation_verifier``: which sentence of an answer is supported by which quote of the manual; ``number_check``:
   whether its numbers are, and belong to the same things, and ``opposites`` whether it says "open" for "close";
   both compare ``neighbouring_words``.
"""
