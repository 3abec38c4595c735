"""LLM-as-a-judge, report 6.3.1."""
