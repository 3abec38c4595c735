"""What pocket reads: its tokenizer, and batches of samples with the labels that teach."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2ForCausalLM

from finetune.pocket.args import PocketArgs
from finetune.pocket.grammar import Sample, mixed
from finetune.pocket.grammar.names import LEVEL_1

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
END = 2
IGNORE = -100
CONTEXT = 1024
# One Chinese character, one digit, one mark at a time; a Latin word with the space before it, a capital word without:
# a name is spelt by the same tokens behind a space, a quotation mark and a line break, and can be copied as it is.
PIECES = r" ?[a-zß-ÿ]+|[A-ZÀ-Þ][A-Za-zÀ-ɏ]*|[^A-Za-zÀ-ɏ]"


def train_tokenizer(samples: Sequence[Sample], vocab: int) -> Tokenizer:
    """A byte-level BPE whose Chinese characters, digits and marks stand alone, so that all is copied alike."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ["\n".join((*(text for _, text in s.messages), s.answer)) for s in samples]
    # Every common character gets a token, so that any name is copied by its characters, not by bytes.
    often = {c for c, n in Counter("".join(texts)).items() if c > "\u3000" and n > len(texts) // 400}
    alphabet = sorted(often.union(LEVEL_1))
    tokenizer.train_from_iterator([*texts, *alphabet * 200], trainer)
    return tokenizer


def adopt(start: Path, tokenizer: Path) -> Qwen2ForCausalLM:
    """The model in ``start`` with another vocabulary: tokens that both know keep their row, others get a random one."""
    model = Qwen2ForCausalLM.from_pretrained(start, dtype=torch.float32)
    old, new = Tokenizer.from_file(str(start / "tokenizer.json")), Tokenizer.from_file(str(tokenizer))
    rows = model.get_input_embeddings().weight.detach()
    known, wanted = old.get_vocab(), new.get_vocab()
    drawn = torch.randn(len(wanted), rows.size(1)) * rows.std()
    for token, place in wanted.items():
        if token in known:
            drawn[place] = rows[known[token]]
    model.resize_token_embeddings(len(wanted), mean_resizing=False)
    model.get_input_embeddings().weight.data.copy_(drawn)
    return model


def prompt_text(sample: Sample) -> str:
    """The messages in ChatML, the last one open: what the model reads before it answers."""
    *closed, (role, prefix) = sample.messages
    head = "".join(f"<|im_start|>{r}\n{text}<|im_end|>\n" for r, text in closed)
    return f"{head}<|im_start|>{role}\n{prefix}"


def taught(sample: Sample, prompt: str) -> list[tuple[int, int]]:
    """The character ranges that teach: the answers in the history and the answer itself.

    An earlier answer teaches from behind its speaker's opening mark, or behind "A: ", to the end of its line.
    """
    ranges, at = [], prompt.find("<|im_start|>user")
    for span in sample.spans:
        start = prompt.find("\n" + span + "\n", at)
        start = prompt.find("\n" + span, at) if start < 0 else start
        if start < 0:
            continue
        head = next(n for n, c in enumerate(span) if c in ":：") + 1
        while span[head] in ' "“':
            head += 1
        ranges.append((start + 1 + head, start + 1 + len(span)))
        at = start + len(span)
    return [*ranges, (len(prompt), len(prompt) + len(sample.answer) + len(SPECIAL[END]))]


def encode(tokenizer: Tokenizer, samples: Sequence[Sample]) -> list[tuple[list[int], list[bool]]]:
    """Token ids of each sample, and which of them teach; samples beyond the context are left out."""
    prompts = [prompt_text(s) for s in samples]
    encoded = tokenizer.encode_batch([p + s.answer + SPECIAL[END] for p, s in zip(prompts, samples, strict=True)])
    rows = []
    for sample, prompt, one in zip(samples, prompts, encoded, strict=True):
        if len(one.ids) > CONTEXT:
            continue
        marks = [False] * len(one.ids)
        for start, end in taught(sample, prompt):
            for n, (a, b) in enumerate(one.offsets):
                # a Latin word carries the space before it; what begins inside the range is taught
                marks[n] = marks[n] or (a >= start - 1 and b > start and b <= end)
        rows.append((one.ids, marks))
    return rows


def as_batch(rows: Sequence[tuple[list[int], list[bool]]], whole: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels [rows, longest]; padding stands at the end, where causal attention never looks."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full_like(ids, IGNORE)
    for n, (row, marks) in enumerate(rows):
        ids[n, : len(row)] = torch.tensor(row)
        keep = torch.tensor(row)
        labels[n, : len(row)] = keep if whole else keep.masked_fill(~torch.tensor(marks), IGNORE)
    return ids, labels


def copying(vocab: int, tokens: int, seed: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Words of random tokens, and then the same words in any order: how a word that has begun goes on can be copied.

    Often few tokens make up all words, as letters do: then one token alone does not tell which word has begun, and
    what goes before it must.
    """
    dice = random.Random(seed)
    length = dice.choice((96, 192, 320))
    rows = []
    for _ in range(tokens // length):
        known = dice.sample(range(len(SPECIAL), vocab), dice.choice((10, 20, 40, 100, 300)))
        words = [dice.choices(known, k=dice.randint(3, 8)) for _ in range(dice.randint(2, length // 16))]
        row, taught = [token for word in words for token in word], [False] * sum(map(len, words))
        while len(row) < length:
            word = dice.choice(words)
            row += word
            taught += [n > 1 and dice.random() < 0.5 for n in range(len(word))]
        rows.append((row[:length], taught[:length]))
    return as_batch(rows)


def pool(tokenizer: Tokenizer, config: PocketArgs, number: int, level: float) -> list[tuple[Any, ...]]:
    """The batches of pool ``number``: samples of like length together, the order of the batches at random."""
    seed = f"{config.seed}/{number}"
    rows = sorted(encode(tokenizer, mixed(config.mix, config.pool, seed, level)), key=lambda r: len(r[0]))
    batches = list(_cut(rows, config.batch_tokens))
    random.Random(seed).shuffle(batches)
    return batches


def _cut(rows: Sequence[tuple[list[int], list[bool]]], tokens: int) -> Iterator[tuple[Any, ...]]:
    start = 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and len(rows[end][0]) * (end + 1 - start) <= tokens:
            end += 1
        yield tuple(rows[start:end])
        start = end
