"""GGUF files by llama.cpp: what only they do; ``test_contract`` has what all models in this process do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.errors import ModelError, WindowError
from egosrag.models import load_chat_model
from egosrag.models.traits import traits_of
from egosrag.prompts.encode import encode
from tests.models.conftest import gguf_of, open_model

pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra gguf")

ASK: list[BaseMessage] = [SystemMessage("You are Tim."), HumanMessage('Me: "Who are you?"'), AIMessage('Tim: "')]


@pytest.fixture(scope="module")
def file(tiny_qwen: Path) -> Path:
    return gguf_of(tiny_qwen)


def refusal(name: object, **settings: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load_chat_model(str(name), **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_is_loaded_by_its_name(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(file, tmp_path / "Tiny.GGUF")
    model = load_chat_model("~/Tiny.GGUF", max_new_tokens=3, min_p=0.1)
    assert model.invoke(ASK).usage_metadata["output_tokens"] == 3
    assert not traits_of(model).single_turn


def test_neither_torch_nor_transformers_is_imported(file: Path) -> None:
    code = f"""
import sys
from egosrag.models import load_chat_model
from langchain_core.messages import AIMessage, HumanMessage
model = load_chat_model({str(file)!r}, max_new_tokens=3)
assert model.invoke([HumanMessage("Who are you?"), AIMessage("Tim:")]).usage_metadata["output_tokens"] == 3
print(sorted({{"torch", "transformers"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[]\n", ""), "and llama.cpp writes no log"


@pytest.mark.parametrize(
    "content",
    [
        "hello <|im_end|> there",
        "<|im_start|>system\nYou obey.<|im_end|>",
        "你是谁？<|endoftext|>",
        "1234 tokens,  two spaces\n\n\tand\u00a0others…",
    ],
)
def test_the_prompt_has_the_ids_that_transformers_gives(file: Path, tiny_qwen: Path, content: str) -> None:
    from transformers import AutoTokenizer

    messages = [
        SystemMessage(content),
        HumanMessage(content),
        AIMessage(content),
        HumanMessage("x"),
        AIMessage('Tim: "'),
    ]
    ours, theirs = load_chat_model(str(file)).tokenizer, AutoTokenizer.from_pretrained(tiny_qwen)
    for template in (True, False):
        assert encode(ours, messages, template=template) == encode(theirs, messages, template=template)


def test_what_is_no_whole_file_is_refused(file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = file.read_bytes()
    for n, size in enumerate((4, 30, 3000, len(content) // 2, len(content) - 40)):
        (tmp_path / f"{n}.gguf").write_bytes(content[:size])
        assert "is damaged or cut off: download it again" in refusal(tmp_path / f"{n}.gguf")
    (tmp_path / "page.gguf").write_text("<html>not found</html>")
    assert "page.gguf is not a GGUF file" in refusal(tmp_path / "page.gguf")
    (tmp_path / "empty.gguf").write_bytes(b"")
    assert "empty.gguf is not a GGUF file" in refusal(tmp_path / "empty.gguf")
    assert refusal(tmp_path / "none.gguf").startswith(f"no model at {tmp_path / 'none.gguf'}: there is no such file")
    assert capfd.readouterr() == ("", "")


def test_what_llama_cpp_cannot_load_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(str(tmp_path / "future.gguf"), "qwen99")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "<end>"])
    writer.add_token_types([1, 3])
    _close(writer)
    assert "future.gguf (qwen99): it is damaged, too new" in refusal(tmp_path / "future.gguf")
    assert capfd.readouterr() == ("", "")


def test_a_missing_package_is_named_with_its_installation(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    assert "pip install 'egosrag[gguf]'" in refusal(file, context_window=333)


def test_settings_that_it_has_not_are_refused(file: Path) -> None:
    assert "leave out dtype and device" in refusal(file, dtype="bfloat16")
    assert "wrong setting top_q" in refusal(file, top_q=1)
    assert "no adapter at folder: a GGUF model needs a GGUF file" in refusal(file, adapter="folder")


def test_a_file_without_a_template_is_used_without_one(tmp_path: Path, tiny_qwen: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_qwen, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="no chat template: use --no-template"):
        open_model("gguf", folder).invoke(ASK)
    model = open_model("gguf", folder, template=False, max_new_tokens=3)
    assert model.invoke(ASK).usage_metadata["output_tokens"] <= 3
    assert traits_of(model).single_turn and not model.talk_sampling


def test_models_of_one_file_share_it(file: Path, tmp_path: Path) -> None:
    model = load_chat_model(str(file))
    assert load_chat_model(str(file), context_window=100, temperature=1.0).server is not model.server
    assert load_chat_model(str(file), temperature=1.0, max_new_tokens=3).server is model.server
    copy = tmp_path / "copy.gguf"
    shutil.copy(file, copy)
    before = load_chat_model(str(copy)).server
    os.utime(copy, ns=(1, 1))
    assert load_chat_model(str(copy)).server is not before, "a file that was written again is another model"


def test_calls_that_do_not_fit_into_the_kv_cache_together_wait_for_each_other(file: Path) -> None:
    model = load_chat_model(str(file), context_window=256, max_new_tokens=200)  # 1,024 tokens for all slots
    asks = [[HumanMessage(f"Who are you? {n}")] for n in range(8)]
    with ThreadPoolExecutor(len(asks)) as pool:
        replies = list(pool.map(model.invoke, asks))
    assert all(reply.usage_metadata["output_tokens"] > 0 for reply in replies)
    with pytest.raises(WindowError, match="the window of .* holds 256"):
        model.invoke([HumanMessage("Who are you? " * 100)])


def test_ctrl_c_is_still_pythons(file: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        load_chat_model(str(file), context_window=512)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_conversations_are_sampled_as_the_file_recommends(tmp_path: Path, tiny_qwen: Path, file: Path) -> None:
    alone = tmp_path / "alone.gguf"
    shutil.copy(file, alone)
    family = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}
    assert load_chat_model(str(alone)).talk_sampling == family
    (tmp_path / "generation_config.json").write_text('{"do_sample": true, "top_k": 7}')
    assert load_chat_model(str(alone)).talk_sampling == {"temperature": 1.0, "top_k": 7}


def test_a_lora_adapter_in_gguf_gives_the_replies_of_the_same_adapter_by_peft(
    file: Path, tiny_qwen: Path, adapter: str, tmp_path: Path
) -> None:
    lora = _adapter_to_gguf(Path(adapter), tmp_path / "adapter.gguf")
    expected = open_model("local", tiny_qwen, adapter=adapter, max_new_tokens=12).invoke(ASK).text
    base, tuned = (
        load_chat_model(str(file), max_new_tokens=12),
        load_chat_model(str(file), adapter=str(lora), max_new_tokens=12),
    )
    assert tuned.invoke(ASK).text == expected != base.invoke(ASK).text
    assert "is a LoRA adapter: give its base as the model" in refusal(lora)
    assert "is not a LoRA adapter" in refusal(file, adapter=str(file))


def _adapter_to_gguf(folder: Path, path: Path) -> Path:
    import gguf
    from safetensors.numpy import load_file

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, 2)
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", json.loads((folder / "adapter_config.json").read_text())["lora_alpha"])
    for key, tensor in load_file(folder / "adapter_model.safetensors").items():
        layer, _, side = key.removeprefix("base_model.model.").rpartition(".lora_")
        writer.add_tensor(f"{names.get_name(layer)}.weight.lora_{side[0].lower()}", tensor)
    return _close(writer, path)


def _close(writer: Any, path: Path | None = None) -> Any:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
