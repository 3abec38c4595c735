"""Train pocket, the embedded default model, from scratch on samples that its grammar generates.

    python -m finetune.pocket --config finetune/configs/pocket.yaml [--minutes 75] [--key value]...

An interrupted run continues from its last checkpoint when it is started again. ``--export-only true`` exports and
evaluates that checkpoint. It runs on a GPU if there is one, and multiplies in bfloat16 if that is fast
(``attention.bf16_is_fast``).
"""

from __future__ import annotations

import json
import logging
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from finetune.pocket import data
from finetune.pocket.args import PocketArgs
from finetune.pocket.attention import EXPLICIT, bf16_is_fast
from finetune.pocket.copy_circuit import install_copy_circuit
from finetune.pocket.export import export_and_evaluate
from finetune.pocket.grammar import FAMILIES, draw, draw_mixed
from finetune.pocket.muon import make_optimizers

log = logging.getLogger("pocket")


def build_model(config: PocketArgs) -> Qwen2ForCausalLM:
    """A Qwen2 of the configured size, with random weights and the copy circuit, or with those of ``config.start``."""
    torch.manual_seed(config.seed)
    if config.start:
        return data.load_with_vocabulary(Path(config.start), Path(config.run) / "tokenizer.json")
    shape = Qwen2Config(
        vocab_size=config.vocab,
        hidden_size=config.width,
        intermediate_size=config.feed_forward,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        tie_word_embeddings=True,
        max_position_embeddings=data.CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        bos_token_id=None,
        eos_token_id=data.END,
        pad_token_id=0,
    )
    model = Qwen2ForCausalLM(shape)
    install_copy_circuit(model, config.seed)
    return model


def answer_loss(layers: Any, head: torch.nn.Module, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy at labelled tokens, in nats; logits are computed for those only.

    Args:
        layers: the decoder without its head.
        head: from hidden states to logits.
        ids: (rows, tokens).
        labels: (rows, tokens), ``IGNORED`` at tokens without a loss.
    """
    hidden = layers(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    labelled = targets != data.IGNORED
    return torch.nn.functional.cross_entropy(head(hidden[labelled]).float(), targets[labelled])


class Training:
    """A run: all random choices follow from the seed and the counters in ``state``, so a resumed run is the same.

    Args:
        config: the settings; ``vocab`` is set to the size of the trained tokenizer.
    """

    def __init__(self, config: PocketArgs) -> None:
        self.config, self.run = config, Path(config.run)
        self.run.mkdir(parents=True, exist_ok=True)
        path = self.run / "tokenizer.json"
        if not path.is_file():
            samples = draw_mixed(config.family_shares, config.tokenizer_samples, "tokenizer", 1.0)
            data.train_tokenizer(samples, config.vocab).save(str(path))
        self.tokenizer = Tokenizer.from_file(str(path))
        self.config.vocab = self.tokenizer.get_vocab_size()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.bf16 = bf16_is_fast(self.device) if config.precision == "auto" else config.precision == "bf16"
        self.model = build_model(config).to(self.device)
        explicit = self.bf16 and self.device.type == "cpu"
        if explicit:
            self.model.config._attn_implementation = EXPLICIT
        self.optimizers = make_optimizers(self.model, config, torch.bfloat16 if self.bf16 else torch.float32)
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0, "tokens": 0, "pool": 0, "at": 0, "level": 0.0}
        self.batches: list[Any] = []
        share = max(1, torch.get_num_threads() // config.parts)
        self.threads = ThreadPoolExecutor(config.parts, initializer=torch.set_num_threads, initargs=(share,))
        self.beyond_answers = False  # whether the last batch had a loss on more than answers
        # Shapes differ at every step: one compilation for all of them, and the labelled tokens' logits outside it.
        # Explicit attention is half as fast compiled (1,700 tokens per second against 3,900 on an AMD EPYC).
        compiled = config.compile and not explicit
        self.layers: Any = torch.compile(self.model.model, dynamic=True) if compiled else self.model.model
        if (self.run / "state.json").is_file():
            self._load()

    @property
    def progress(self) -> float:
        """The used share of the budget: of the steps if set, else of the minutes."""
        if self.config.steps:
            return float(self.state["step"] / self.config.steps)
        return float(self.state["seconds"] / (60 * self.config.minutes))

    def save(self) -> None:
        """Write a checkpoint: weights and optimizer state as safetensors, then the counters as JSON."""
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items() if k != "lm_head.weight"}
        for n, optimizer in enumerate(self.optimizers):
            for p, entry in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer{n}/{p}/{key}": torch.as_tensor(v) for key, v in entry.items()}
        name = f"step{self.state['step']}.safetensors"
        save_file({k: v.contiguous() for k, v in tensors.items()}, self.run / name)
        part = self.run / "state.part"
        part.write_text(
            json.dumps(self.state | {"weights": name, "config": asdict(self.config)}, indent=1), encoding="utf-8"
        )
        part.replace(self.run / "state.json")
        for old in self.run.glob("step*.safetensors"):
            if old.name != name:
                old.unlink()

    def _load(self) -> None:
        stored = json.loads((self.run / "state.json").read_text(encoding="utf-8"))
        tensors = load_file(self.run / stored.pop("weights"))
        stored.pop("config")
        self.state = stored
        weights = {k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")}
        self.model.load_state_dict(weights, strict=False)
        for n, optimizer in enumerate(self.optimizers):
            whole = optimizer.state_dict()
            for key, value in tensors.items():
                if key.startswith(f"optimizer{n}/"):
                    _, p, field = key.split("/")
                    whole["state"].setdefault(int(p), {})[field] = value
            optimizer.load_state_dict(whole)
        self._fill_pool()
        log.info("continuing from step %s", self.state["step"])

    def _fill_pool(self) -> None:
        self.batches = data.batch_pool(self.tokenizer, self.config, self.state["pool"], self.state["level"])

    def _next_batch(self, part: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        config, state = self.config, self.state
        seed = f"{config.seed}/{state['step']}/{part}"
        rng = random.Random(seed)
        early = self.progress < config.text_until
        if state["step"] < config.copy_steps or (early and rng.random() < config.copy_share):
            self.beyond_answers = True
            return data.copying_batch(config.vocab, config.batch_tokens, seed)
        if not self.batches or state["at"] == len(self.batches):
            state |= {"pool": state["pool"] + 1, "at": 0, "level": min(1.0, self.progress / config.grow_until)}
            self._fill_pool()
        state["at"] += 1
        self.beyond_answers = early and rng.random() < config.full_share
        return data.as_batch(self.batches[state["at"] - 1], label_all=self.beyond_answers)

    def _gradients(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[float, tuple[torch.Tensor, ...], float]:
        """The loss of one batch, the gradients of the parameters, and the CPU seconds it took."""
        begun, (ids, labels) = time.thread_time(), batch
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = answer_loss(self.layers, self.model.lm_head, ids.to(self.device), labels.to(self.device))
        gradients = torch.autograd.grad(loss, tuple(self.model.parameters()))
        return loss.item(), gradients, time.thread_time() - begun

    def step(self) -> float:
        """Make one update.

        Returns:
            The mean loss of its batches, in nats per token.
        """
        begun, state, config = time.thread_time(), self.state, self.config
        decay = (1 - self.progress) / (1 - config.decay_from)
        scale = min(1.0, (state["step"] + 1) / config.warmup_steps) * min(1.0, max(0.05, decay))
        for optimizer, lr in zip(self.optimizers, (config.muon_lr, config.adam_lr), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = lr * scale
        batches = [self._next_batch(part) for part in range(config.parts)]
        state["seconds"] += time.thread_time() - begun
        # Batches in parallel, one thread each: 1.9 times as fast on two cores as on one, and only 1.4 times if both
        # cores share every small product.
        results = (
            list(self.threads.map(self._gradients, batches)) if len(batches) > 1 else [self._gradients(batches[0])]
        )
        state["seconds"] += max(seconds for _, _, seconds in results)
        begun = time.thread_time()
        for parameter, *parts in zip(self.model.parameters(), *(gradients for _, gradients, _ in results), strict=True):
            parameter.grad = torch.stack(parts).mean(0) if len(parts) > 1 else parts[0]
        total = sum(loss for loss, _, _ in results) / config.parts
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        state["step"] += 1
        state["tokens"] += sum(ids.numel() for ids, _ in batches)
        state["seconds"] += time.thread_time() - begun
        return total

    def train(self) -> None:
        """Train until the budget is used, with checkpoints at every ``save_every``."""
        losses: list[float] = []
        while self.progress < 1:
            loss = self.step()
            losses += [] if self.beyond_answers else [loss]
            if self.state["step"] % 25 == 0:
                speed = self.state["tokens"] / self.state["seconds"]
                log.info(
                    "step %s (%.0f%%), %.2f million tokens, samples at %.0f%% of length, answers %.3f, %.0f tokens/s",
                    self.state["step"],
                    100 * self.progress,
                    self.state["tokens"] / 1e6,
                    100 * self.state["level"],
                    sum(losses) / max(1, len(losses)),
                    speed,
                )
                losses = []
            if self.state["step"] % self.config.save_every == 0:
                self.save()
                log.info("exact %s", exact_match(self.model, self.tokenizer, 12, self.state["level"]))
        self.save()


@torch.inference_mode()
def exact_match(model: Qwen2ForCausalLM, tokenizer: Tokenizer, number: int, level: float = 1.0) -> dict[str, float]:
    """The share of answers, with unseen names, that greedy decoding would give word for word, by family and language.

    One forward pass is enough: greedy decoding follows the answer as long as each next token is the most probable.
    """
    scores = {}
    for family in FAMILIES:
        for language in ("en", "zh"):
            samples = [
                draw(family, language, f"held/{n}", split="names", level=level)._replace(spans=())
                for n in range(number)
            ]
            ids, labels = data.as_batch(data.encode(tokenizer, samples))
            best = model(input_ids=ids.to(model.device)).logits[:, :-1].argmax(-1).cpu()
            wrong = (best != labels[:, 1:]) & (labels[:, 1:] != data.IGNORED)
            scores[f"{family}.{language}"] = round(1 - wrong.any(1).float().mean().item(), 2)
    return scores


def run(config: PocketArgs) -> None:
    """Train, or continue an interrupted run, to the end of the budget; then export and evaluate."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    training = Training(config)
    log.info("%.2f million parameters, %s tokens", training.model.num_parameters() / 1e6, config.vocab)
    if not config.export_only:
        training.train()
    training.model.set_attn_implementation("sdpa")  # explicit attention has no KV cache
    export_and_evaluate(training.model, training.tokenizer, training.state, config.out, config.test_samples)
