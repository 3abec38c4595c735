"""Rows of data sets to token ids and labels."""
