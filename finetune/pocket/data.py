"""Training data of pocket: its tokenizer, and batches of samples as token ids and labels."""

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
from finetune.pocket.grammar import Sample, draw_mixed
from finetune.pocket.grammar.names import COMMON_CHARACTERS

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]  # ids 0, 1, 2
END = 2  # the id that ends a turn
IGNORED = -100  # the label of a token without a loss, as in transformers
CONTEXT = 1024  # tokens
# Pre-tokens: single Chinese characters, digits and marks; a Latin word with the space before it, a capitalized word
# without, so that a name has the same tokens after a space, a quotation mark and a line break, and can be copied.
PRE_TOKENS = r" ?[a-zß-ÿ]+|[A-ZÀ-Þ][A-Za-zÀ-ɏ]*|[^A-Za-zÀ-ɏ]"


def train_tokenizer(samples: Sequence[Sample], vocab: int) -> Tokenizer:
    """A byte-level BPE in which Chinese characters, digits and marks are single tokens, so that all can be copied."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKENS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ["\n".join((*(text for _, text in s.messages), s.answer)) for s in samples]
    # Every common character gets a token, so that any name is copied by its characters, not by bytes.
    frequent = {c for c, n in Counter("".join(texts)).items() if c > "\u3000" and n > len(texts) // 400}
    alphabet = sorted(frequent.union(COMMON_CHARACTERS))
    tokenizer.train_from_iterator([*texts, *alphabet * 200], trainer)
    return tokenizer


def load_with_vocabulary(start: Path, tokenizer: Path) -> Qwen2ForCausalLM:
    """The model in ``start`` with another vocabulary: shared tokens keep their embedding, new ones get a random one."""
    model = Qwen2ForCausalLM.from_pretrained(start, dtype=torch.float32)
    old, new = Tokenizer.from_file(str(start / "tokenizer.json")), Tokenizer.from_file(str(tokenizer))
    rows = model.get_input_embeddings().weight.detach()
    old_ids, new_ids = old.get_vocab(), new.get_vocab()
    embeddings = torch.randn(len(new_ids), rows.size(1)) * rows.std()
    for token, new_id in new_ids.items():
        if token in old_ids:
            embeddings[new_id] = rows[old_ids[token]]
    model.resize_token_embeddings(len(new_ids), mean_resizing=False)
    model.get_input_embeddings().weight.data.copy_(embeddings)
    return model


def prompt_text(sample: Sample) -> str:
    """The messages in ChatML, the last one open: the prompt that the answer continues."""
    *closed, (role, prefix) = sample.messages
    head = "".join(f"<|im_start|>{r}\n{text}<|im_end|>\n" for r, text in closed)
    return f"{head}<|im_start|>{role}\n{prefix}"


def labelled_ranges(sample: Sample, prompt: str) -> list[tuple[int, int]]:
    """The character ranges with a loss: the answers in the history and the answer itself.

    An earlier answer begins after its speaker's opening mark, or after "A: ", and ends with its line.
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
    return [*ranges, (len(prompt), len(prompt) + len(sample.answer) + len(SPECIAL_TOKENS[END]))]


def encode(tokenizer: Tokenizer, samples: Sequence[Sample]) -> list[tuple[list[int], list[bool]]]:
    """Token ids of each sample, and which of them have a loss; samples longer than the context are left out."""
    prompts = [prompt_text(s) for s in samples]
    encoded = tokenizer.encode_batch(
        [p + s.answer + SPECIAL_TOKENS[END] for p, s in zip(prompts, samples, strict=True)]
    )
    rows = []
    for sample, prompt, one in zip(samples, prompts, encoded, strict=True):
        if len(one.ids) > CONTEXT:
            continue
        labelled = [False] * len(one.ids)
        for start, end in labelled_ranges(sample, prompt):
            for n, (a, b) in enumerate(one.offsets):
                # A Latin word includes the space before it, so its token may begin one character before the range.
                labelled[n] = labelled[n] or (a >= start - 1 and b > start and b <= end)
        rows.append((one.ids, labelled))
    return rows


def as_batch(
    rows: Sequence[tuple[list[int], list[bool]]], label_all: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels, each (rows, longest row); padding is at the end, which causal attention never attends to."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for n, (row, labelled) in enumerate(rows):
        tokens = torch.tensor(row)
        ids[n, : len(row)] = tokens
        labels[n, : len(row)] = tokens if label_all else tokens.masked_fill(~torch.tensor(labelled), IGNORED)
    return ids, labels


def copying_batch(vocab: int, tokens: int, seed: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of copying tasks: words of random tokens, then the same words in any order.

    Once a word has begun, its next token can be copied. Often all words consist of few distinct tokens, as words do of
    letters: then one token alone does not determine the word, and the tokens before it must.
    """
    rng = random.Random(seed)
    length = rng.choice((96, 192, 320))
    rows = []
    for _ in range(tokens // length):
        alphabet = rng.sample(range(len(SPECIAL_TOKENS), vocab), rng.choice((10, 20, 40, 100, 300)))
        words = [rng.choices(alphabet, k=rng.randint(3, 8)) for _ in range(rng.randint(2, length // 16))]
        row, labelled = [token for word in words for token in word], [False] * sum(map(len, words))
        while len(row) < length:
            word = rng.choice(words)
            row += word
            labelled += [n > 1 and rng.random() < 0.5 for n in range(len(word))]
        rows.append((row[:length], labelled[:length]))
    return as_batch(rows)


def batch_pool(tokenizer: Tokenizer, config: PocketArgs, number: int, level: float) -> list[tuple[Any, ...]]:
    """The batches of pool ``number``: samples of similar length together, batches in random order."""
    seed = f"{config.seed}/{number}"
    rows = sorted(
        encode(tokenizer, draw_mixed(config.family_shares, config.pool, seed, level)), key=lambda r: len(r[0])
    )
    batches = list(_split_by_tokens(rows, config.batch_tokens))
    random.Random(seed).shuffle(batches)
    return batches


def _split_by_tokens(rows: Sequence[tuple[list[int], list[bool]]], tokens: int) -> Iterator[tuple[Any, ...]]:
    """Consecutive rows in batches of at most ``tokens`` tokens, padding included; rows are sorted by length."""
    start = 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and len(rows[end][0]) * (end + 1 - start) <= tokens:
            end += 1
        yield tuple(rows[start:end])
        start = end
