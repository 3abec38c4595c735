"""PPL mode (report 2.2): multiple choice by likelihood.

In the order of a run: ``tasks`` (rows → option strings) → ``scoring`` (strings → log-likelihoods → choices, the plain
way) → ``prefix_sharing`` (the same scores, faster) → ``run`` (model, records, Ray; ``gguf`` loads GGUF files) →
``report`` (accuracies, table). ``harness`` compares both with lm-evaluation-harness on the same rows.
"""
