"""Role-play, report 7.3."""
