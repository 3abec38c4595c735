"""Documents: from files to clean pages, and from pages to passages.

Files in reading order:

1. ``load``: files and folders to clean pages.
2. ``readers``: one reader per format; ``tables`` (CSV, TSV) and ``wiki`` (boilerplate of wiki pages) serve them.
3. ``cleaning``: running heads, page numbers, wrapped lines, headings.
4. ``splitting``: pages to passages of whole sentences.
5. ``page_view``: a page with the quote of a citation highlighted.
"""
