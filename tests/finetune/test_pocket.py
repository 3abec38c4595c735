"""pocket: a reproducible grammar, a training that resumes, and weights that read their prompt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from egosrag.prompts.encode import encode
from egosrag.traits import Traits, read_traits
from finetune.cli import parse, run_command
from finetune.pocket import data
from finetune.pocket import export as pocket_export
from finetune.pocket import train as pocket
from finetune.pocket.args import PocketArgs
from finetune.pocket.attention import explicit_attention
from finetune.pocket.export import continue_prompt, export
from finetune.pocket.grammar import FAMILIES, Dice, Sample, draw, draw_mixed, is_held_out
from finetune.pocket.grammar.baseline import contains_values, lexical_answer
from finetune.pocket.grammar.conversation import RandomConversation, with_address
from finetune.pocket.grammar.roles import ATTRIBUTES, fact
from finetune.pocket.grammar.sample import table

CONFIG = Path(__file__).parents[2] / "finetune" / "configs" / "pocket.yaml"
WEIGHTS = Path(__file__).parents[2] / "egosrag" / "data" / "pocket"
LANGUAGES = ("en", "zh")
KINDS = [(family, language) for family in FAMILIES for language in LANGUAGES]


@pytest.mark.parametrize(("family", "language"), KINDS)
def test_the_same_seed_gives_the_same_sample_and_another_seed_another(family: str, language: str) -> None:
    assert draw(family, language, "7") == draw(family, language, "7")
    assert draw(family, language, "7") != draw(family, language, "8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_words_never_occur_in_training(language: str) -> None:
    train, test = Dice("1", language), Dice("1", language, "names")
    seen = {make() for _ in range(300) for make in (train.word, train.name)}
    new = {make() for _ in range(300) for make in (test.word, test.name)}
    assert not seen & new
    assert not any(map(is_held_out, seen))
    assert all(map(is_held_out, new))


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_wordings_never_occur_in_training(language: str) -> None:
    for attribute in ATTRIBUTES[language].values():
        train, test = Dice("1", language), Dice("1", language, "wordings")
        drawn = {train.wording(attribute.says) for _ in range(100)}
        assert len(attribute.says) >= 3
        held = {test.wording(attribute.says) for _ in range(100)}
        assert attribute.says[-1] in held
        assert held | drawn == set(attribute.says)
        assert not held & drawn


@pytest.mark.parametrize(("family", "language"), KINDS)
def test_every_sample_is_a_rendered_prompt_with_an_answer_that_contains_its_value(family: str, language: str) -> None:
    for n in range(60):
        sample = draw(family, language, str(n))
        assert [role for role, _ in sample.messages] == ["system", "user", "assistant"]
        assert contains_values(sample, sample.answer)
        assert "$" not in sample.answer
        assert "{" not in "".join(text for _, text in sample.messages) + sample.answer


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_answer_is_contained_in_its_prompt(language: str) -> None:
    for n in range(60):
        sample = draw("manual", language, str(n))
        prompt, reason = data.prompt_text(sample), sample.answer
        for verdict in table("manual", language)["verdicts"].values():
            reason = reason.removeprefix(verdict).strip()
        assert reason in prompt  # the refusal too: the system prompt names it
        role = draw("role", language, str(n))
        whole = role.value == role.answer[:-1] or role.value.startswith(("I ", "My ")) or "我" in role.value
        if not whole:  # a sentence of its own, not a value
            assert role.value in data.prompt_text(role)


@pytest.mark.parametrize("language", LANGUAGES)
def test_parts_years_and_large_numbers_are_held_out_too(language: str) -> None:
    parts = table("manual", language)["words"]["part"]
    train, test = Dice("1", language), Dice("1", language, "names")
    drawn = [{dice.common(parts) for _ in range(400)} for dice in (train, test)]
    assert len(drawn[0]) > 40 and len(drawn[1]) > 2 and not drawn[0] & drawn[1]
    numbers = [{n for _ in range(800) if int(n := dice.number(2, 9999)) >= 100} for dice in (train, test)]
    years = [{dice.year() for _ in range(200)} for dice in (train, test)]
    for seen, new in (numbers, years):
        assert len(seen) > 20 and len(new) > 10 and not seen & new
    assert {train.number(2, 9) for _ in range(99)} == {test.number(2, 9) for _ in range(99)} == set("23456789")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_yes_or_no_answer_contains_the_reason(language: str) -> None:
    verdicts, answered = table("manual", language)["verdicts"], []
    for n in range(400):
        sample = draw("manual", language, str(n))
        for holds, verdict in verdicts.items():
            if sample.answer.startswith(verdict):
                assert (sample.value in sample.question) >= holds
                assert sample.answer.removeprefix(verdict).strip() in "\n".join(sample.sentences)
                answered.append(holds)
    assert 20 < len(answered) < 120 and 0.3 < sum(answered) / len(answered) < 0.7


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_role_uses_the_form_of_address_on_its_card(language: str) -> None:
    talks = [RandomConversation(Dice(str(n), language)) for n in range(200)]
    calling = [talk for talk in talks if talk.address]
    assert 30 < len(calling) < 100
    for talk in calling:
        assert any(talk.address in s.text for s in talk.role.speaking_style)
        for kind in ("small", "card", "unknown", "tell", "recall"):
            assert talk.address in talk.exchange(kind)[1]
    assert with_address(Dice("1", "en"), "I am afraid of fog.", "sailor") == "I am afraid of fog, sailor."
    assert with_address(Dice("1", "zh"), "我怕雾。", "小友") == "小友，我怕雾。"
    assert with_address(Dice("1", "zh"), "我怕雾。", "") == "我怕雾。"


def test_a_question_that_names_the_value_expects_the_whole_answer() -> None:
    drawn = [fact(Dice(str(n), "en", "names"), "friend") for n in range(60)]
    assert {f.value for f in drawn if f.value.startswith("My friend is ")}
    assert all(f.value in f.answer and f.value != f.ask for f in drawn)


def test_both_languages_and_every_family_have_their_share() -> None:
    samples = draw_mixed({"role": 1, "manual": 1}, 200, "0", 0.5)
    assert sum(s.language == "zh" for s in samples) == 100
    assert 60 < sum(s.family == "role" for s in samples) < 140


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> PocketArgs:
    """Settings of a run of thirty steps with a model of about fifty thousand parameters."""
    small = {"vocab": 600, "width": 48, "layers": 2, "feed_forward": 32, "batch_tokens": 700, "pool": 12}
    short = {"tokenizer_samples": 150, "steps": 30, "copy_steps": 4, "save_every": 1000, "test_samples": 0}
    short |= {"warmup_steps": 5, "compile": "false"}
    words = [f"--{key}={value}" for key, value in (small | short).items()]
    folder = tmp_path_factory.mktemp("pocket")
    return parse(PocketArgs, ["--config", str(CONFIG), *words, f"--run={folder}/run", f"--out={folder}/out"])


@pytest.fixture(scope="module")
def trained(config: PocketArgs) -> pocket.Training:
    """The run, without interruption."""
    training = pocket.Training(replace(config))
    training.train()
    assert training.state["step"] == 30
    return training


def test_training_lowers_the_loss(trained: pocket.Training) -> None:
    samples = draw_mixed(trained.config.family_shares, 24, "loss", 0.0)
    ids, labels = data.as_batch(data.encode(trained.tokenizer, samples))
    untrained = pocket.build_model(trained.config)
    with torch.inference_mode():
        after, before = (pocket.answer_loss(m.model, m.lm_head, ids, labels) for m in (trained.model, untrained))
        assert after < before - 0.5


def test_copying_begins_with_the_circuit_and_improves_with_training(config: PocketArgs, tmp_path: Path) -> None:
    """Words of random tokens, which only copying can predict; by chance 1 in 400 would be right, or 1 in 10 if the
    words have few distinct tokens."""
    small = replace(config, run=str(tmp_path), width=96, batch_tokens=1536, parts=1, steps=40, copy_steps=40)
    training = pocket.Training(small)

    @torch.inference_mode()
    def copied() -> float:
        ids, labels = data.copying_batch(small.vocab, 1536, "never trained on")
        best = training.model(input_ids=ids).logits[:, :-1].argmax(-1)
        keep = labels[:, 1:] != data.IGNORED
        return (best == labels[:, 1:])[keep].float().mean().item()

    before = copied()
    training.train()
    assert 0.08 < before < 0.5  # with the initial circuit
    assert copied() > before + 0.1


def test_products_in_bfloat16_have_nearly_the_same_losses(config: PocketArgs, tmp_path: Path) -> None:
    half, full = (
        pocket.Training(replace(config, precision=name, run=str(tmp_path / name), steps=6)) for name in ("bf16", "fp32")
    )
    losses = [(half.step(), full.step()) for _ in range(6)]
    for precision, plain in (("bf16", True), ("fp32", False)):  # explicit attention is not compiled
        one = pocket.Training(replace(config, precision=precision, run=str(tmp_path / precision), compile=True))
        assert (one.layers is one.model.model) == (plain and one.device.type == "cpu")
    assert half.bf16 and not full.bf16
    assert all(weight.dtype == torch.float32 for weight in half.model.parameters())
    assert all(abs(a - b) < 0.02 * b for a, b in losses)


def test_explicit_attention_equals_torchs() -> None:
    query, key, value = torch.randn(3, 2, 4, 9, 8).unbind()
    ours, _ = explicit_attention(torch.nn.Identity(), query, key, value, None, scaling=0.3)
    theirs = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3)
    assert torch.allclose(ours.transpose(1, 2), theirs, atol=1e-5)


def test_a_run_can_start_from_weights_and_take_several_batches_per_update(
    trained: pocket.Training, config: PocketArgs, tmp_path: Path
) -> None:
    start = export(trained.model, trained.tokenizer, tmp_path / "start")
    more = pocket.Training(replace(config, start=str(start), run=str(tmp_path / "more"), steps=2, parts=2))
    for name, weight in trained.model.state_dict().items():
        assert torch.equal(weight, more.model.state_dict()[name])
    more.train()
    assert more.state["step"] == 2
    wider = pocket.Training(replace(config, start=str(start), run=str(tmp_path / "wider"), vocab=config.vocab + 64))
    old, new = trained.tokenizer.get_vocab(), wider.tokenizer.get_vocab()
    shared = sorted(old.keys() & new.keys())
    assert len(old) * 0.9 < len(shared) < len(new) == wider.model.config.vocab_size
    before, after = (run.model.get_input_embeddings().weight for run in (trained, wider))
    assert torch.equal(before[[old[t] for t in shared]], after[[new[t] for t in shared]])
    assert any(not torch.equal(w, more.model.state_dict()[n]) for n, w in trained.model.state_dict().items())


def test_weights_too_large_for_the_package_are_exported_in_bfloat16(
    trained: pocket.Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pocket_export, "MAX_FLOAT32_BYTES", 1000)
    folder = export(trained.model, trained.tokenizer, tmp_path)
    assert {weight.dtype for weight in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    read = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for name, weight in trained.model.state_dict().items():
        assert torch.allclose(weight, read.state_dict()[name], rtol=0.01)


@pytest.mark.parametrize("path", sorted(CONFIG.parent.glob("pocket*.yaml")), ids=lambda path: path.stem)
def test_each_configuration_of_pocket_opens_with_its_command_and_parses(path: Path) -> None:
    first, *head = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    assert first == f"# python -m finetune.pocket --config finetune/configs/{path.name}"
    assert any("Hardware: " in line for line in head) and any("Expected time: " in line for line in head)
    assert parse(PocketArgs, ["--config", str(path)]).minutes > 0


def test_a_resumed_run_has_the_same_weights(trained: pocket.Training, config: PocketArgs, tmp_path: Path) -> None:
    there = replace(config, run=str(tmp_path))
    (tmp_path / "tokenizer.json").write_text(trained.tokenizer.to_str(), encoding="utf-8")
    killed = pocket.Training(replace(there))
    for _ in range(13):
        killed.step()
    killed.save()
    killed.step()  # lost with the process
    resumed = pocket.Training(replace(there))
    assert resumed.state["step"] == 13
    resumed.train()
    for name, value in trained.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert not [p for p in tmp_path.iterdir() if p.suffix in (".pt", ".bin", ".pkl")]


def test_the_command_trains_and_exports(config: PocketArgs, tmp_path: Path) -> None:
    words = ["--config", str(CONFIG), "--steps=2", "--copy_steps=1", "--tokenizer_samples=60", "--test_samples=0"]
    small = ["--vocab=400", "--width=48", "--layers=2", "--batch_tokens=500", "--pool=4", "--compile=false"]
    folders = [f"--run={tmp_path}/run", f"--out={tmp_path}/out"]
    assert run_command("finetune.pocket", PocketArgs, pocket.run, [*words, *small, *folders], doc=pocket.__doc__) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert run_command("finetune.pocket", PocketArgs, pocket.run, ["--config", str(CONFIG), "--widht=3"], doc=None) == 2


def test_an_export_states_its_traits_and_encodes_prompts_as_in_training(
    trained: pocket.Training, tmp_path: Path
) -> None:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    folder = export(trained.model, trained.tokenizer, tmp_path / "pocket")
    assert read_traits(folder) == Traits(single_turn=True, extractive_only=True, revises_drafts=True, prompts="pocket")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    for family, language in KINDS:
        sample = draw(family, language, "export", level=0.3)
        kinds = (SystemMessage, HumanMessage, AIMessage)
        messages = [kind(text) for kind, (_, text) in zip(kinds, sample.messages, strict=True) if text]
        assert encode(tokenizer, messages) == trained.tokenizer.encode(data.prompt_text(sample)).ids
    ids = torch.tensor([trained.tokenizer.encode("Tim").ids])
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits, trained.model(ids).logits)


def test_the_answer_and_the_answers_in_the_history_have_labels(trained: pocket.Training) -> None:
    sample = next(s for n in range(50) if 1 < len((s := draw("role", "en", str(n))).spans) < 7)
    ((ids, marks),) = data.encode(trained.tokenizer, [sample])
    labelled = trained.tokenizer.decode([i for i, m in zip(ids, marks, strict=True) if m], skip_special_tokens=False)
    answers = [span.split(': "', 1)[1] for span in sample.spans]
    assert labelled == "".join(answers) + sample.answer + "<|im_end|>"


def test_the_lexical_baseline_answers_with_the_nearest_sentence() -> None:
    sample = Sample(
        "manual", "en", (), "", "", (), ("The lamp is red.", "The pump holds oil."), "What does the pump hold?"
    )
    assert lexical_answer(sample) == "The pump holds oil."


@pytest.fixture(scope="module")
def shipped() -> tuple[Any, Any]:
    """The committed weights and their tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(WEIGHTS).backend_tokenizer


def test_the_shipped_weights_are_small_safetensors_of_a_qwen2() -> None:
    config = json.loads((WEIGHTS / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert (WEIGHTS / "model.safetensors").stat().st_size < 16e6
    assert all(torch.isfinite(value).all() for value in load_file(WEIGHTS / "model.safetensors").values())
    assert {p.suffix for p in WEIGHTS.iterdir()} <= {".json", ".md", ".safetensors"}


@pytest.mark.parametrize(("language", "least"), [("en", 15), ("zh", 15)])
def test_the_shipped_weights_answer_from_unseen_cards(shipped: tuple[Any, Any], language: str, least: int) -> None:
    model, tokenizer = shipped
    samples = [draw("role", language, f"shipped/{n}", split="names", level=0.5) for n in range(20)]
    right = sum(continue_prompt(model, tokenizer, data.prompt_text(s)) == s.answer for s in samples)
    assert right >= least


def test_the_model_card_has_the_measured_scores() -> None:
    card = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    rows = json.loads((WEIGHTS / "scores.json").read_text(encoding="utf-8"))
    assert {(r["family"], r["language"]) for r in rows} == set(KINDS)
    for r in rows:
        assert f"| {r['family']} | {r['language']} | {r['exact']:.0%} | {r['value']:.0%} |" in card
