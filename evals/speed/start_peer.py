"""The shortest way to a streamed reply with LangChain or llama.cpp alone: the peers of ``evals.speed.start``.

python -m evals.speed.start_peer FOLDER < lines
python -m evals.speed.start_peer FILE.gguf PROMPT.json < lines
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(folder: str) -> None:
    """Send the first line of standard input to the checkpoint, and stream the reply to standard output."""
    from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline

    settings = {"max_new_tokens": 32, "do_sample": False, "return_full_text": False}
    model = HuggingFacePipeline.from_model_id(folder, task="text-generation", pipeline_kwargs=settings)
    for chunk in ChatHuggingFace(llm=model).stream(sys.stdin.readline().strip()):
        print(chunk.text, end="", flush=True)


def llama_cpp(file: str, prompt: str) -> None:
    """Send chat messages to a GGUF file by llama.cpp's server in this process, and stream the reply.

    Args:
        file: The GGUF file.
        prompt: A JSON list of ``{"role", "content"}``.
    """
    os.environ["OMP_WAIT_POLICY"] = "passive"  # as ours
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.verbosity, params.warmup, params.ui = file, 0, False, False
    params.n_ctx, params.n_parallel = 8192, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    server = xllamacpp.Server(params)

    def show(event: dict[str, Any]) -> bool:
        for choice in event.get("choices", ()):
            print(choice.get("delta", {}).get("content") or "", end="", flush=True)
        return False

    messages = json.loads(Path(prompt).read_text(encoding="utf-8"))
    server.handle_chat_completions({"messages": messages, "max_tokens": 32, "stream": True, "temperature": 0}, show)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        llama_cpp(*sys.argv[1:])
    else:
        main(sys.argv[1])
