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
from streamlit import get_option  # noqa: E402
from streamlit.starlette import App  # noqa: E402

from egosrag import EgosRagError  # noqa: E402
from egosrag.host.door import PASSWORD, Door, check_address  # noqa: E402

password = os.environ.get(PASSWORD, "")
try:
    check_address(get_option("server.address"), password)
except EgosRagError as error:
    sys.exit(str(error))
app = App("main.py", middleware=[Middleware(Door, password=password)])
