"""An OpenAI-compatible HTTP server over the chat model, roles and manuals: ``egosrag serve``.

Read in this order: ``schema`` (request and response bodies, error responses), ``backends`` (what answers under a model
name: the chat model, a role, a manual), ``guard`` (bearer tokens, limits, metrics), ``api`` (the routes and streaming).
"""
