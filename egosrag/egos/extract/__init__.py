"""Extract (report 7.2.2): static, a role card from sources; dynamic, a search of the sources for each line."""
