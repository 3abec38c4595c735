"""``python -m evals.chatbot``."""

from evals.chatbot.command import command
from evals.common.command import run

run(command)
