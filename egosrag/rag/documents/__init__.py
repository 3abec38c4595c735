"""From files to clean pages and passages."""
