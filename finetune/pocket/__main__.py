"""``python -m finetune.pocket --config FILE``."""

import sys

from finetune.pocket import train
from finetune.pocket.args import PocketArgs
from finetune.trainer.args import command

sys.exit(command(PocketArgs, train.run, doc=train.__doc__))
