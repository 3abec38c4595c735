"""The four tasks of report 5.2."""
