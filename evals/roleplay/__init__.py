"""Role-play (report 7.3): four systems, four cases, three dimensions.

In the order of a run: ``cases`` (the conversations) → ``systems`` (the four systems) → ``simulated_user`` (a script, or
a model as the user) → ``run`` → ``detectors`` (patterns for a reply; ``replies`` measures them on labelled ones) →
``scorer`` (measures and dimensions) → ``judge`` (an LLM's scores) → ``report``.
"""
