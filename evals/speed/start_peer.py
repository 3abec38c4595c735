"""The shortest way to a streamed reply with LangChain alone: the peer of ``evals.speed.start``.

python -m evals.speed.start_peer FOLDER < lines
"""

from __future__ import annotations

import sys


def main(folder: str) -> None:
    """Send the first line of standard input to the checkpoint, and stream the reply to standard output."""
    from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline

    settings = {"max_new_tokens": 32, "do_sample": False, "return_full_text": False}
    model = HuggingFacePipeline.from_model_id(folder, task="text-generation", pipeline_kwargs=settings)
    for chunk in ChatHuggingFace(llm=model).stream(sys.stdin.readline().strip()):
        print(chunk.text, end="", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
