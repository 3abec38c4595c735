"""Roles and manuals as models of an OpenAI-compatible HTTP API: ``egosrag serve``."""
