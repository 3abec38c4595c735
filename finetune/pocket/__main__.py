"""The command ``python -m finetune.pocket --config FILE``; see ``finetune.pocket.train``."""

import sys

from finetune.cli import run_command
from finetune.pocket import train
from finetune.pocket.args import PocketArgs

sys.exit(run_command("finetune.pocket", PocketArgs, train.run, doc=train.__doc__))
