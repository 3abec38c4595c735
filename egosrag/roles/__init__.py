"""Role cards, lorebooks and personas, and their files."""
