"""What only the embedded 3-million-parameter model needs. Frozen."""
