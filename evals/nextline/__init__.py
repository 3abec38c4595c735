"""How likely a model finds the true next line of a script under each way of writing the prompt (report 7.2.3).

Read ``rows`` (scripts and profiles), ``novel`` (a novel's dialogue as rows), ``systems`` (the ways of writing, by the
product's own steps), ``run`` (scored by PPL mode's engine), ``report`` and ``command``.
"""
