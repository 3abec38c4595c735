"""Roles and manuals as tools of other programs, by the Model Context Protocol: ``egosrag mcp``.

Read in this order: ``schema`` (arguments and results of the tools, as JSON schemas), ``served`` (the manuals and the
roles that are served, loaded when they are first needed), ``pages`` (pages of manuals as resources), ``tools`` (what
each tool does), ``work`` (one call: its thread, its progress, its cancellation), ``server`` (the requests of the
protocol, over standard input and output or HTTP).
"""
