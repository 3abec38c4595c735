"""Results and records of finished runs, for people to look at."""
