"""PPL mode of report 2.2: the option whose string has the lowest perplexity, counted as accuracy.

    python -m evals.ppl --model Qwen/Qwen2.5-0.5B --data hellaswag=hub --data mmlu=hub --figure figure1.png
    python -m evals.ppl --model qwen2.5-1.5b-instruct-q4_k_m.gguf --data mmlu=hub
    python -m evals.ppl --model out/sft --data arc_easy=arc_easy.jsonl --predictions sft.jsonl --limit 200 --json

Raw text for every model, chat models too, as OpenCompass scores them. ``accuracy`` is OpenCompass's (Winogrande:
the suffix's log-likelihood); ``acc`` and ``acc_norm`` are lm-evaluation-harness's rules on the same strings.
``--prompts lm-eval`` uses the harness's wording instead, and then ``acc`` is what the harness reports.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from evals.common.charts import draw_bars
from evals.common.command import Adapter, AsJson, BackendOption, Figure, Upload, finish
from evals.ppl.report import show
from evals.ppl.run import evaluate
from evals.ppl.tasks import parse_sources


def command(
    data: Annotated[list[str], typer.Option(metavar="TASK=FILE", help="JSONL file, MMLU folder, or hub; repeatable.")],
    model: Annotated[str, typer.Option(help="pocket, a hub id, a folder or a GGUF file.")] = "pocket",
    adapter: Adapter = None,
    prompts: Annotated[str, typer.Option(help="Prompt style: opencompass or lm-eval.")] = "opencompass",
    limit: Annotated[int | None, typer.Option(min=1, help="Rows a task; MMLU's are spread over the subjects.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="JSONL of the records, to resume from.")] = None,
    figure: Figure = None,
    reference: Annotated[bool, typer.Option(help="Compute every string in full: slow.")] = False,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[
        str | None, typer.Option(help="Such as cpu or cuda:0.", show_default="the GPU if there is one")
    ] = None,
    engine: BackendOption = "here",
    upload: Upload = False,
    as_json: AsJson = False,
) -> None:
    """Score multiple-choice tasks by likelihood."""
    results = evaluate(
        model,
        parse_sources(data),
        adapter=adapter,
        prompts=prompts,
        limit=limit,
        predictions=predictions,
        reference=reference,
        dtype=dtype,
        device=device,
        engine=engine,
        upload=upload,
    )
    chart = (figure, lambda drawn, path: draw_bars({model: drawn}, path))
    finish(results, partial(show, model), as_json, chart, (predictions, None))
