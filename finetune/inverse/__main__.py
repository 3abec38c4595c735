"""The inverse-data experiment (report 3): does training on (input, output) to instruction help?

    python -m finetune.inverse --config finetune/configs/inverse_mixed.yaml

A forward and an inverse set are made of the same rows. Every arm takes equally many steps, ``epochs`` passes over
``rows`` rows: normal trains on the forward set throughout; first and last train on the inverse set in the first or the
last half; mixed shuffles both sets together. Only rows are drawn that fit ``max_length`` whole in both directions. The
model of each seed goes to ``out/seed-N``; ``out/inverse.json`` contains the inverse recall of each seed, before and
after the training, on trained and on held-out rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from finetune.cli import run_command
from finetune.inverse.args import InverseArgs
from finetune.inverse.experiment import experiment


def _run(args: InverseArgs) -> None:
    summary = experiment(args)
    if summary:
        print(json.dumps({key: summary[key] for key in ("arm", "steps", "mean", "sd")}))
        print(f"saved to {args.out}: inverse.json, and a model for each seed", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module docstring."""
    return run_command("finetune.inverse", InverseArgs, _run, argv, doc=__doc__)


if __name__ == "__main__":
    sys.exit(main())
