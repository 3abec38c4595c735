"""What the web app needs behind its pages to serve many visitors with one model. No user interface is in here.

Read in this order: ``visitors`` (who a visitor is), ``auth`` (cookie, password and security headers of every request),
``uploads`` (files of a visitor, within limits), ``cards`` and ``card_editor`` (their roles), ``personas``,
``lorebooks``, ``choices`` (what a conversation uses of these), ``conversations`` (their sessions, and what the model
saw), ``conversation_catalog`` (the list of these), ``manuals`` (their documents, answers and cited pages),
``document_chats`` (questions about these), ``trash`` (deleted conversations), ``visits`` (what was open and chosen);
``model_choices`` (which models there are), ``model_loader`` and ``queue`` (models loaded once, used in fair turns),
``jobs`` (long work in the background); ``feedback`` (ratings), ``escape`` and ``markup`` (untrusted text as Markdown
and as HTML), ``portraits``, ``times``, ``messages`` (errors in the language of the page).
"""
