"""The chatbot's four tasks (report 5.2): basic and professional knowledge, translation, open questions.

In the order of a run: ``questions`` (rows, and the models of ``--models``) → ``run`` (ask each model) → ``scorer``
(measures without a judge) → ``judge`` (an LLM's scores) → ``report`` (figures, table, chart) → ``html_report`` (the
answers side by side).
"""
