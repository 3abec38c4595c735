"""``python -m evals.memory``."""

from evals.memory.command import main

raise SystemExit(main())
