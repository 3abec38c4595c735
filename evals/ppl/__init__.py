"""PPL mode of report 2.2."""
