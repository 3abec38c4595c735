"""The pages, with their door in front: ``make app``, or ``streamlit run apps/app.py``.

``EGOSRAG_APP_PASSWORD`` asks every visitor for a password; docs/how-to/app.md tells how to let others in.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `streamlit run` knows this file's folder alone, and the pages are `apps.*`

from starlette.middleware import Middleware  # noqa: E402
from streamlit.starlette import App  # noqa: E402

from egosrag.host.door import PASSWORD, Door  # noqa: E402

app = App("main.py", middleware=[Middleware(Door, password=os.environ.get(PASSWORD, ""))])
