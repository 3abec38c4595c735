"""What the evaluations share: commands, records, statistics."""
