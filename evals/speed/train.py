"""Training speed beside TRL's SFTTrainer: the same rows, model, steps and losses, tokens a second of each.

    python -m evals.speed.train --json
    python -m evals.speed.train --shape 0.5b --precision bf16 --json     (on a GPU: MFU and peak memory too)

Rows have Alpaca's distribution of lengths. A side's ``tokens_per_second`` counts the rows' own tokens, never padding,
from the start of training to the end of the last step. Peers are TRL with its defaults (``trl``), without activation
checkpointing (``trl_plain``), and also with packed (padding-free) batches (``trl_flat``, recommended only with
FlashAttention).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import EgosRagError

PEERS = ("trl", "trl_plain", "trl_flat")
SAME_LOSS = 1e-3  # a peer whose losses differ by more at any step did other work, and is not compared


class Shape(StrEnum):
    """The shape of the Qwen2 to train: small enough for a CPU, or Qwen2.5-0.5B's."""

    SMALL = "small"
    HALF_B = "0.5b"


class Precision(StrEnum):
    """Number format of the computation; weights are fp32 on both sides."""

    FP32 = "fp32"
    BF16 = "bf16"


_SIZES: dict[Shape, dict[str, int]] = {
    Shape.SMALL: {
        "vocab_size": 4096,
        "hidden_size": 256,
        "intermediate_size": 704,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
    },
    Shape.HALF_B: {
        "vocab_size": 151_936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
    },
}
_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]


def make_rows(path: Path, n: int, seed: int = 0) -> None:
    """Write ``n`` Alpaca rows of random words, in the lengths of Alpaca's instructions and outputs."""
    rng = random.Random(seed)
    lexicon = ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 3))) for _ in range(2000)]

    def words(mu: float, sigma: float, most: int) -> str:
        # Log-normal lengths, fitted to the word counts of 100 rows of Alpaca-cleaned.
        count = min(max(1, round(rng.lognormvariate(mu, sigma))), most)
        return " ".join(rng.choices(lexicon, k=count))

    rows = [{"instruction": words(2.4, 0.53, 60), "output": words(3.4, 1.3, 250)} for _ in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_model(folder: Path, shape: Shape, rows: Path) -> None:
    """Save a random Qwen2 with a byte-level tokenizer trained on the rows and a ChatML template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=4096, special_tokens=special, show_progress=False)
    backend.train_from_iterator(rows.read_text(encoding="utf-8").splitlines(), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    Qwen2ForCausalLM(Qwen2Config(**_SIZES[shape], tie_word_embeddings=True)).save_pretrained(folder)


def ours(work: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Train with ``finetune.sft``, as a user would."""
    out = work / "ours"
    arguments = ["--model", str(work / "model"), "--data", str(work / "rows.jsonl"), "--out", str(out)]
    arguments += [
        "--precision",
        plan["precision"],
        "--max_steps",
        str(plan["steps"]),
        "--batch_size",
        str(plan["batch"]),
    ]
    arguments += ["--lr", str(plan["lr"]), "--schedule", "constant", "--seed", "0", "--log_steps", "1"]
    arguments += ["--max_length", "1024", "--save_steps", "1000000"]
    run_process([sys.executable, "-m", "finetune.sft", *arguments])
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return {key: run[key] for key in ("tokens", "seconds", "loss", "peak_memory_gib", "mfu")}


def peer(work: Path, plan: dict[str, Any], name: str) -> dict[str, Any]:
    """Train with TRL's SFTTrainer in a process of its own."""
    out = work / f"{name}.json"
    job = {**plan, "model": str(work / "model"), "rows": str(work / "rows.jsonl"), "out": str(out), "peer": name}
    run_process([sys.executable, "-m", "evals.speed.train_trl", json.dumps(job)])
    return dict(json.loads(out.read_text(encoding="utf-8")))


def run_process(command: list[str]) -> None:
    """Run a command without output.

    Raises:
        EgosRagError: It failed; the message has the last line of its standard error.
    """
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise EgosRagError(f"{' '.join(command[1:3])} failed ({done.returncode}): {last}")


def compare(shape: Shape, precision: Precision, steps: int, batch: int, peers: list[str]) -> dict[str, Any]:
    """Train on every side.

    Returns:
        ``ours`` and each of ``peers``: tokens_per_second, seconds, loss_difference (the largest, to ours) and, on a
        GPU, peak_memory_gib and mfu; ``ratio``: our tokens a second over those of the best peer with our losses.

    Raises:
        EgosRagError: A side failed, or no peer has our losses.
    """
    plan = {"precision": str(precision), "steps": steps, "batch": batch, "lr": 3e-4}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_rows(work / "rows.jsonl", steps * batch)
        make_model(work / "model", shape, work / "rows.jsonl")
        own = ours(work, plan)
        sides = {name: peer(work, plan, name) for name in peers}
    peer_figures = {name: figures(side, own) for name, side in sides.items()}
    fair = [side["tokens_per_second"] for side in peer_figures.values() if side["loss_difference"] <= SAME_LOSS]
    if not fair:
        raise EgosRagError(f"no peer has our losses within {SAME_LOSS}: {json.dumps(peer_figures)}; compare the rows")
    mine = figures(own, own)
    return {"ours": mine, "peers": peer_figures, "ratio": round(mine["tokens_per_second"] / max(fair), 3)}


def figures(side: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The figures of a side, from its result and ours."""
    pairs = zip(side["loss"], own["loss"], strict=True)
    speed = own["tokens"] / side["seconds"]  # the rows' own tokens, without padding
    return {
        "tokens_per_second": round(speed, 1),
        "seconds": side["seconds"],
        "loss_difference": round(max(abs(a[1] - b[1]) for a, b in pairs), 6),
        "last_loss": round(side["loss"][-1][1], 4),
        "peak_memory_gib": side["peak_memory_gib"],
        # Both sides do the same work: their MFU differs as their time does.
        "mfu": own["mfu"] and round(own["mfu"] * own["seconds"] / side["seconds"], 3),
    }


def command(
    shape: Annotated[Shape, typer.Option(help="The model's size.")] = Shape.SMALL,
    precision: Annotated[Precision, typer.Option(help="bf16 needs a GPU.")] = Precision.FP32,
    steps: Annotated[int, typer.Option(min=2, help="Optimizer steps of each side.")] = 30,
    batch: Annotated[int, typer.Option(min=1, help="Rows a step.")] = 8,
    peers: Annotated[str, typer.Option(help="Comma-separated peers.")] = ",".join(PEERS),
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Compare training speed with TRL's SFTTrainer, on the same rows, model and steps."""
    result = compare(shape, precision, steps, batch, peers.split(","))
    if as_json:
        print(json.dumps(result))
        return
    for name, side in {"ours": result["ours"], **result["peers"]}.items():
        print(f"{name:10} {side['tokens_per_second']:10.1f} tokens/s   loss differs by {side['loss_difference']:.1e}")
    print(f"ratio to the best peer: {result['ratio']}")


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
