"""Documents: from files to clean pages, and from pages to passages.

Files in reading order:

1. ``load``: files and folders to clean pages.
2. ``readers``: the readers by file extension, each in a file: ``pdf`` (with ``pdf_objects``,
   ``pdf_text``, ``pdf_tables``, ``pdf_layout``), ``docx`` (with ``word_styles``), ``markdown``,
   ``html`` (with ``wiki``, boilerplate of wiki pages) ``delimited`` (CSV, TSV) and ``whatsapp`` (exported chats).
3. ``raw``: what they return; ``tables``: rows with their column names; ``latex``: tables in LaTeX;
   ``superscripts``: 10³ as plain text.
4. ``cleaning``: running heads, page numbers, wrapped lines, headings.
5. ``splitting``: pages to passages of whole sentences.
6. ``procedures``: the lists of a page, which are read and quoted as a whole.
7. ``page_view``: a page with the quote of a citation highlighted.
"""
