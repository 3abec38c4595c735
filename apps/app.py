"""The web app with its access control: ``make app``, or ``streamlit run apps/app.py``. The pages begin in main.py.

Read in this order: this file, ``main.py`` (navigation), ``parts`` (what pages share), then the pages: ``roleplay``,
``roles``, ``compare``, ``manual``, ``results``, ``training``. What needs no user interface is in ``egosrag.host``.

``EGOSRAG_APP_PASSWORD`` is the password for visitors; docs/how-to/app.md says how to let other machines in.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `streamlit run` only adds this file's folder, and the pages import `apps.*`

from starlette.middleware import Middleware  # noqa: E402
from streamlit import get_option  # noqa: E402
from streamlit.starlette import App  # noqa: E402

from egosrag import EgosRagError  # noqa: E402
from egosrag.host.auth import PASSWORD, AuthMiddleware, check_address  # noqa: E402

password = os.environ.get(PASSWORD, "")
try:
    check_address(get_option("server.address"), password)
except EgosRagError as error:
    sys.exit(str(error))
app = App("main.py", middleware=[Middleware(AuthMiddleware, password=password)])
