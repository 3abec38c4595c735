"""Loading a model by name, and each failure as an error of one line that says what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from egosrag.errors import ModelError
from egosrag.models import load_chat_model
from egosrag.models.local import LocalChatModel
from egosrag.models.runtime.checkpoint import open_engine
from tests.tiny import make_tiny_adapter, make_tiny_qwen


def refusal(name: object, **settings: object) -> str:
    with pytest.raises(ModelError) as caught:
        load_chat_model(str(name), **settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_folder_is_looked_for_and_named(tmp_path: Path) -> None:
    message = refusal(tmp_path / "absent")
    assert message.startswith(f"no model at {tmp_path / 'absent'}")
    assert "config.json" in message


def test_a_hub_name_without_network_says_how_to_download() -> None:
    message = refusal("Qwen/Qwen2.5-0.5B-Instruct")
    assert "hf download Qwen/Qwen2.5-0.5B-Instruct" in message


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("x")
    assert "is a file" in refusal(tmp_path / "model.safetensors")


def test_a_folder_without_a_config(tmp_path: Path) -> None:
    assert "no config.json" in refusal(tmp_path)


def test_pickled_weights_are_refused_with_the_reason(tiny_qwen: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_qwen / "config.json", tmp_path)
    assert "no *.safetensors" in refusal(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert "pickles, which can run code" in refusal(tmp_path)


def test_damaged_weights_are_one_line(tiny_qwen: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_qwen, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"x" * 50)
    assert "cannot be loaded" in refusal(tmp_path / "m")


def test_code_in_the_folder_is_not_run(tiny_qwen: Path, tmp_path: Path) -> None:
    import json

    shutil.copytree(tiny_qwen, tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "c.C", "AutoModelForCausalLM": "c.M"}}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    (tmp_path / "m" / "c.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert "cannot be loaded" in refusal(tmp_path / "m")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["nobody:large", "openai:", ":x"])
def test_an_unknown_provider_lists_the_known(name: str) -> None:
    assert "deepseek:NAME, openai:NAME, scripted:NAME" in refusal(name)


def test_any_provider_of_langchain_works_where_its_package_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "langchain-mistralai" in refusal("mistralai:large")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_API_VERSION", "1")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "http://127.0.0.1:9")
    model = load_chat_model("azure_openai:gpt", max_new_tokens=7, seed=None, top_p=1.0)
    assert (type(model).__name__, model.max_tokens, model.temperature) == ("AzureChatOpenAI", 7, 0.0)
    assert "wrong setting colour" in refusal("azure_openai:gpt", colour=1)


@pytest.mark.parametrize(("name", "key"), [("openai:gpt", "OPENAI_API_KEY"), ("deepseek:chat", "DEEPSEEK_API_KEY")])
def test_a_missing_key_is_named(name: str, key: str) -> None:
    assert refusal(name) == f"no key for {name}: set {key} in the environment"


def test_wrong_settings_are_named(tiny_qwen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "wrong setting temperature" in refusal(tiny_qwen, temperature=-1)
    assert "wrong setting colour" in refusal(tiny_qwen, colour=1)
    assert "unknown dtype 'int3'" in refusal(tiny_qwen, dtype="int3")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert "wrong setting colour" in refusal("openai:gpt", colour=1)
    assert "needs a local model" in refusal("openai:gpt", adapter="x")


def test_an_adapter_of_another_base_leaves_the_base_as_it_was(tiny_qwen: Path, tmp_path: Path) -> None:
    make_tiny_qwen(tmp_path / "other")
    make_tiny_adapter(tmp_path / "other", tmp_path / "adapter")
    from safetensors.numpy import load_file, save_file

    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({k: (v[:, :-1].copy() if "lora_A" in k else v) for k, v in load_file(file).items()}, file)
    base = load_chat_model(str(tiny_qwen), max_new_tokens=4)
    assert isinstance(base, LocalChatModel)
    before, adapters = base.invoke("Hi").text, dict(base.engine.adapters)  # other tests share this base
    message = refusal(tiny_qwen, adapter=str(tmp_path / "adapter"))
    assert f"does not fit {tiny_qwen}" in message and f"trained on {tmp_path / 'other'}" in message
    assert base.invoke("Hi").text == before
    assert base.engine.adapters == adapters


def test_an_adapter_that_is_not_safe_to_load_is_refused(tiny_qwen: Path, tmp_path: Path) -> None:
    assert "no adapter at" in refusal(tiny_qwen, adapter=str(tmp_path))
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "PREFIX_TUNING"}')
    (tmp_path / "adapter_model.bin").write_bytes(b"x")
    assert "pickles are not loaded" in refusal(tiny_qwen, adapter=str(tmp_path))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    assert "is damaged" in refusal(tiny_qwen, adapter=str(tmp_path))


def test_a_base_is_loaded_once_until_its_folder_changes(tiny_qwen: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_qwen, tmp_path / "m")
    first = open_engine(str(tmp_path / "m"))
    assert open_engine(str(tmp_path / "m")) is first
    make_tiny_qwen(tmp_path / "m", seed=3)
    assert open_engine(str(tmp_path / "m")) is not first


@pytest.mark.parametrize(
    ("stored", "fast", "loaded"),
    [
        ("float32", True, "float32"),
        ("bfloat16", True, "bfloat16"),
        ("float16", True, "bfloat16"),
        ("bfloat16", False, "float32"),
    ],
)
def test_weights_of_16_bits_are_computed_in_bfloat16_where_that_is_fast(
    tiny_qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str, fast: bool, loaded: str
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    file = shutil.copytree(tiny_qwen, tmp_path / "m") / "model.safetensors"
    save_file({k: v.to(getattr(torch, stored)) for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    monkeypatch.setattr("egosrag.models.runtime.checkpoint.has_fast_bfloat16", lambda device: fast)
    assert open_engine(str(tmp_path / "m")).model.dtype == getattr(torch, loaded)
    assert open_engine(str(tmp_path / "m"), dtype="float32").model.dtype == torch.float32


def test_importing_the_models_loads_no_heavy_library() -> None:
    code = (
        "import sys, egosrag.models, egosrag.models.load, egosrag.models.continuation, egosrag.models.local, "
        "egosrag.models.scripted, egosrag.models.tokens, egosrag.prompts.encode\n"
        "print([m for m in ('torch', 'transformers', 'peft', 'openai') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
