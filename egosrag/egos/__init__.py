"""EGOS (report section 7): Extract, Generate, Organize, Summarize, a file each, composed in ``pipeline``."""
