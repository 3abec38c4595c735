"""An OpenAI-compatible HTTP server over the chat model, roles and manuals: ``egosrag serve``.

Read in this order: ``schema`` (request bodies), ``responses`` (response bodies and errors), ``backends`` (what answers
under a model name: the chat model, a role, a manual), ``guard`` (bearer tokens, limits, metrics), ``answer`` (one
answer, its thread and its end), ``browsers`` (which web pages may send requests), ``protocol`` (time limits of
connections), ``api`` (the routes).
"""
