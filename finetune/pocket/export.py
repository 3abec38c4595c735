"""Export pocket as a Hugging Face folder, evaluate it on unseen samples, and write its model card.

``python -m finetune.pocket`` ends with this; with ``--export-only true`` it does nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import GenerationConfig, Qwen2ForCausalLM

from egosrag.traits import write_traits
from finetune.pocket import data
from finetune.pocket.grammar import FAMILIES, draw
from finetune.pocket.grammar.baseline import contains_values, lexical_answer

log = logging.getLogger("pocket")

MAX_FLOAT32_BYTES = 40_000_000  # larger weights are exported in bfloat16: they are part of the package
SPLITS = {"names": "new names, places, parts and numbers", "wordings": "and new wordings"}
TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def export(model: Qwen2ForCausalLM, tokenizer: Tokenizer, out: str | Path) -> Path:
    """Write the checkpoint in the layout that ``AutoModelForCausalLM`` and ``AutoTokenizer`` read.

    The weights stay float32 if they fit into ``MAX_FLOAT32_BYTES``, else they are rounded to bfloat16, which can be
    loaded as float32 too.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    dtype = torch.float32 if 4 * model.num_parameters() <= MAX_FLOAT32_BYTES else torch.bfloat16
    model.config.dtype = dtype
    model.config.architectures = ["Qwen2ForCausalLM"]
    model.config.save_pretrained(folder)
    write_traits(folder, single_turn=True, extractive_only=True, revises_drafts=True, prompts="pocket")
    GenerationConfig(eos_token_id=[data.END, 0], pad_token_id=0, do_sample=False).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": data.CONTEXT,
        "eos_token": data.SPECIAL_TOKENS[data.END],
        "pad_token": data.SPECIAL_TOKENS[0],
        "additional_special_tokens": data.SPECIAL_TOKENS[1:],
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    weights = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@torch.inference_mode()
def continue_prompt(model: Qwen2ForCausalLM, tokenizer: Tokenizer, prompt: str, max_new_tokens: int = 160) -> str:
    """The model's greedy continuation of ``prompt``, to the end of its turn."""
    ids = torch.tensor([tokenizer.encode(prompt).ids])
    output = model.generate(ids, max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=data.END, pad_token_id=0)
    return str(tokenizer.decode(output[0, ids.size(1) :].tolist(), skip_special_tokens=True))


def evaluate(model: Qwen2ForCausalLM, tokenizer: Tokenizer, number: int) -> list[dict[str, Any]]:
    """Scores by split, family and language on ``number`` samples each.

    Returns:
        Rows of {"split", "family", "language", "exact", "value", "baseline"}, the scores as shares from 0 to 1.
        "baseline" is the share of the lexical baseline's answers with the value; None if there is no baseline.
    """
    rows = []
    for split in SPLITS:
        for family in FAMILIES:
            for language in ("en", "zh"):
                samples = [draw(family, language, f"test/{n}", split=split) for n in range(number)]
                answers = [continue_prompt(model, tokenizer, data.prompt_text(s)) for s in samples]
                baseline = [(s, answer) for s in samples if (answer := lexical_answer(s)) is not None]
                rows.append(
                    {
                        "split": split,
                        "family": family,
                        "language": language,
                        "exact": _share(text == s.answer for s, text in zip(samples, answers, strict=True)),
                        "value": _share(contains_values(s, text) for s, text in zip(samples, answers, strict=True)),
                        "baseline": _share(contains_values(s, answer) for s, answer in baseline) if baseline else None,
                    }
                )
                log.info("%s", rows[-1])
    return rows


def _share(hits: Iterable[bool]) -> float:
    values = [bool(hit) for hit in hits]
    return sum(values) / len(values)


_CARD = """---
license: apache-2.0
language: [en, zh]
library_name: transformers
pipeline_tag: text-generation
---
# pocket

The default model of EGOS-RAG: {parameters:.2f} million parameters, Qwen2 architecture, {layers} layers of width
{width}, {vocab} tokens, {context} tokens of context, {size:.1f} MB. With it everything works offline a minute after
set-up. It is not a language model in the usual sense: it has no knowledge of the world and uses only what is in its
prompt. For a real one, add `--model Qwen/Qwen2.5-1.5B-Instruct`.

## Training data

Only sentences of a grammar in this repository (`finetune/pocket/grammar`): role cards and conversations, passages of
invented manuals, conversations to summarize, prose to extract from, and follow-up questions, Chinese and English in
equal parts, rendered with the same prompts that EGOS-RAG serves. Names, places and many words are made of syllables and
random characters, and some values are everyday words in random order, so it has to copy them. {tokens:.1f} million
tokens, {steps} steps, {minutes:.0f} minutes of CPU time. The command, which can be interrupted and resumed:

    {command}
{changes}
## Scores on unseen samples

{number} samples per row, greedy. *exact*: the answer word for word. *value*: the answer contains the name, number or
steps that the question is about. *baseline*: the sentence of the prompt that shares most words with the question,
scored like *value* (for follow-ups: the question itself); it never refuses, so questions without an answer count
against it. Everyday words and units are those of training in both splits; only what the first column names is new.

| unseen | task | language | exact | value | baseline |
|---|---|---|---:|---:|---:|
{table}

Tasks: `role` answers from the card, the history or the summary, or says that it does not know; `manual` quotes the
sentence that answers, or refuses; `summarize` and `extract` must keep every value; `condense` rewrites a follow-up as a
standalone question.

{verdict}

## Limits

Plain, short sentences close to those of its grammar; no reasoning, no arithmetic, no passage numbers (the citation
check finds the passage). It can copy a wrong sentence, so EGOS-RAG checks its answers against the text. It does not
know what is not in the prompt. It reads freely written cards far less well than those of its grammar (*natural
cards_written* of `evals.pocket`), so in a conversation the card's own sentence is put into the first person if it fits
the question better than the model's answer (*natural cards*). Chinese characters outside the 3,755 common ones are
encoded byte by byte and copied less reliably.
"""


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Name the rows in which the baseline is as good or better, so that nobody has to search the table for them."""
    behind = [r for r in rows if r["baseline"] is not None and r["baseline"] >= r["value"]]
    if not behind:
        return "It is ahead of the baseline in every row that has one."
    named = "; ".join(f"{r['family']} {r['language']} ({SPLITS[r['split']]})" for r in behind)
    return f"**The baseline is as good or better at:** {named}."


def model_card(
    rows: Sequence[Mapping[str, Any]], state: Mapping[str, Any], model: Qwen2ForCausalLM, size: int, number: int
) -> str:
    """The model card; all its figures come from ``rows`` (see ``evaluate``) and from the run's ``state``."""
    lines = [
        f"| {SPLITS[r['split']]} | {r['family']} | {r['language']} | {r['exact']:.0%} | {r['value']:.0%} | "
        + ("-" if r["baseline"] is None else f"{r['baseline']:.0%}")
        + " |"
        for r in rows
    ]
    return _CARD.format(
        parameters=model.num_parameters() / 1e6,
        layers=model.config.num_hidden_layers,
        width=model.config.hidden_size,
        vocab=model.config.vocab_size,
        context=data.CONTEXT,
        size=size / 1e6,
        tokens=state["tokens"] / 1e6,
        steps=state["step"],
        minutes=state["seconds"] / 60,
        command="python -m finetune.pocket --config finetune/configs/pocket.yaml",
        number=number,
        table="\n".join(lines),
        verdict=_verdict(rows),
        changes="".join(f"\n- {change}" for change in state.get("changes", ())) + "\n" * bool(state.get("changes")),
    )


def export_and_evaluate(
    model: Qwen2ForCausalLM, tokenizer: Tokenizer, state: Mapping[str, Any], out: str, number: int
) -> None:
    """Export the model; with ``number`` samples per kind, evaluate it and write model card and scores."""
    folder = export(model, tokenizer, out)
    if not number:
        return
    rows = evaluate(model.eval(), tokenizer, number)
    size = (folder / "model.safetensors").stat().st_size
    (folder / "README.md").write_text(model_card(rows, state, model, size, number), encoding="utf-8")
    (folder / "scores.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
