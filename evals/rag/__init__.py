"""Manual QA of report 6.3."""
