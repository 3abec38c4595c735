"""Load a chat model by its name: ``load_chat_model("pocket")``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr, ValidationError

from egosrag.errors import ModelError
from egosrag.limits import MODEL_TIMEOUT_S
from egosrag.models import catalogue
from egosrag.models.servers import is_on_this_machine, split_name

if TYPE_CHECKING:
    from egosrag.models.api import PrefixStyle
    from egosrag.models.runtime.prompt_files import SavedPrompts

_PROVIDERS = ("deepseek", "openai", "scripted")
_OPENAI_URL = "https://api.openai.com/v1"
_DEEPSEEK_URL = "https://api.deepseek.com/beta"  # prefix completion is only there
_DEEPSEEK_WINDOW = 65_536  # tokens


class GenerationSettings(TypedDict, total=False):
    """How a model generates; each name may be left out.

    What is set applies to every call. What is left out is greedy, except in conversations, which take what the model's
    publisher recommends (``egosrag.models.sampling``).

    Attributes:
        temperature: 0, the default, for greedy decoding.
        top_p: sample only from the likeliest tokens that together have this probability.
        max_new_tokens: limit of a reply in tokens, 256 by default.
        seed: of sampling; None for another result each time.
        top_k: sample only from this many likeliest tokens (local models, and servers that know it).
        min_p: leave out tokens less likely than this share of the likeliest one's probability (as ``top_k``).
        repetition_penalty: above 1 makes tokens that the text contains already less likely (as ``top_k``).
        kv_cache_mb: MiB of KV caches kept for later calls (local models).
        timeout: seconds without an answer (servers).
        max_retries: of a failed request (servers).
    """

    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int | None
    top_k: int
    min_p: float
    repetition_penalty: float
    kv_cache_mb: int
    timeout: float
    max_retries: int


_PROVIDER_DEFAULTS = GenerationSettings(temperature=0.0, max_new_tokens=256)
_API_SETTINGS = (
    "temperature", "top_p", "max_new_tokens", "seed", "top_k", "min_p", "repetition_penalty", "timeout", "max_retries",
)  # fmt: skip


def load_chat_model(
    name: str = "pocket",
    *,
    adapter: str | None = None,
    template: bool = True,
    dtype: str | None = None,
    device: str | None = None,
    context_window: int | None = None,
    prefix_style: PrefixStyle | None = None,
    saved_prompts: SavedPrompts | None = None,
    **settings: Unpack[GenerationSettings],
) -> BaseChatModel:
    """Load a chat model; with all of them a trailing AIMessage is a prefix, and stop strings are left out of the reply.

    Args:
        name: ``pocket`` (the embedded default), a name of ``egosrag models``, a checkpoint folder, a GGUF file, a hub
            id, ``deepseek:NAME``, ``openai:NAME`` (any compatible server through ``OPENAI_BASE_URL``),
            ``openai:NAME@ADDRESS`` (a server on this machine, see ``egosrag.models.servers``), ``scripted:FILE``, or
            ``PROVIDER:NAME`` of any other provider whose LangChain package is installed.
        adapter: folder of a LoRA adapter, for a local model; a GGUF file of one, for a GGUF file.
        template: False leaves out the chat template of a local model (report 5.2, base models).
        dtype: float32, bfloat16 or float16, for a local model; None for bfloat16 where the checkpoint is stored in 16
            bits and the device multiplies bfloat16, else float32.
        device: as torch names it, for a local model.
        context_window: tokens of prompt and reply together; the model's own when None.
        prefix_style: how an ``openai:`` server continues a prefix, "vllm", "deepseek" or "none".
        saved_prompts: where a GGUF file's KV caches of prompts are kept between processes; other models keep none.
        **settings: temperature, top_p, max_new_tokens and others, see ``GenerationSettings``.

    Raises:
        ModelError: there is no such model, it cannot be loaded, a key is missing, or a setting is wrong.
    """
    name = catalogue.resolve(name)
    provider, colon, rest = name.partition(":")
    try:
        if name.lower().endswith(".gguf") and (not colon or len(provider) == 1):  # or the letter of a drive
            return _gguf(name, adapter, template, dtype, device, context_window, saved_prompts, settings)
        if not colon:
            from egosrag.models.local import LocalChatModel

            arguments: dict[str, Any] = {**settings}  # pydantic checks names and values
            return LocalChatModel(
                model=name,
                adapter=adapter,
                template=template,
                dtype=dtype,
                device=device,
                context_window=context_window,
                **arguments,
            )
        if not provider or not rest:
            raise ModelError(_unknown_provider(name))
        if adapter is not None or not template:
            raise ModelError(f"{name} runs elsewhere: an adapter or a prompt without template needs a local model")
        if provider == "scripted":
            return _scripted(rest, context_window, settings)
        if provider not in _PROVIDERS:
            return _langchain_provider(provider, rest, settings)
        return _api(provider, rest, context_window, prefix_style, settings)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "setting"
        raise ModelError(f"wrong setting {where} for {name}: {first['msg']}") from None


def _unknown_provider(name: str) -> str:
    known = ", ".join(provider + ":NAME" for provider in _PROVIDERS)
    return f"no provider for {name}: use a folder, a hub id, {known}, or PROVIDER:NAME of LangChain"


def _gguf(
    file: str,
    adapter: str | None,
    template: bool,
    dtype: str | None,
    device: str | None,
    context_window: int | None,
    saved_prompts: SavedPrompts | None,
    settings: GenerationSettings,
) -> BaseChatModel:
    from egosrag.models.gguf import GgufChatModel

    if dtype is not None or device is not None:
        raise ModelError(f"{file} is run by llama.cpp, in the file's own number format: leave out dtype and device")
    arguments: dict[str, Any] = {**settings}
    arguments |= {"adapter": adapter, "template": template, "context_window": context_window}
    return GgufChatModel(model=file, saved_prompts=saved_prompts, **arguments)


def _scripted(file: str, context_window: int | None, settings: GenerationSettings) -> BaseChatModel:
    from egosrag.models.scripted import ScriptedChatModel

    # Sampling parameters mean nothing to a script.
    used: dict[str, Any] = {key: value for key, value in settings.items() if key == "max_new_tokens"}
    if context_window is not None:
        used["context_window"] = context_window
    return ScriptedChatModel.from_file(file, **used)


def _langchain_provider(provider: str, model: str, settings: GenerationSettings) -> BaseChatModel:
    """A model of any provider that LangChain knows, where its package is installed.

    It is asked in the prompt to begin with a prefix (see ``continuation``); whether it could continue one is not known.
    """
    from langchain.chat_models import init_chat_model

    names = {"max_new_tokens": "max_tokens", "temperature": "temperature", "seed": "seed", "top_p": "top_p"}
    values = {**_PROVIDER_DEFAULTS, **settings}
    if unknown := sorted(values.keys() - names.keys()):
        raise ModelError(f"wrong setting {', '.join(unknown)} for {provider}:{model}: it takes {', '.join(names)}")
    # Not every provider takes a seed or top_p: defaults are not sent.
    arguments: dict[str, Any] = {
        names[key]: value for key, value in values.items() if (key, value) not in (("seed", None), ("top_p", 1.0))
    }
    try:
        chat_model: BaseChatModel = init_chat_model(model, model_provider=provider, **arguments)
        return chat_model
    except ImportError as error:
        raise ModelError(f"{provider}:{model} needs another package: {error}") from error
    except ValueError as error:
        if isinstance(error, ValidationError):
            raise
        raise ModelError(_unknown_provider(f"{provider}:{model}")) from error


def _api(
    provider: str,
    model: str,
    context_window: int | None,
    style: PrefixStyle | None,
    settings: GenerationSettings,
) -> BaseChatModel:
    from egosrag.models.api import ApiChatModel

    short, address = split_name(f"{provider}:{model}")
    if provider == "deepseek":
        key_name, base_url = "DEEPSEEK_API_KEY", _DEEPSEEK_URL
        style, context_window = style or "deepseek", context_window or _DEEPSEEK_WINDOW
    else:
        key_name, base_url = "OPENAI_API_KEY", address or os.environ.get("OPENAI_BASE_URL") or _OPENAI_URL
    if address and not is_on_this_machine(address):
        raise ModelError(f"{address} is not on this machine: set OPENAI_BASE_URL to it, and use openai:NAME")
    key = "" if address else os.environ.get(key_name)  # a key is for the server that the environment names
    if not key and (urlsplit(base_url).hostname or "").endswith((".openai.com", ".deepseek.com")):
        raise ModelError(f"no key for {provider}:{model}: set {key_name} in the environment")
    if unknown := sorted(settings.keys() - set(_API_SETTINGS)):
        raise ModelError(
            f"wrong setting {', '.join(unknown)} for {provider}:{model}: it takes {', '.join(_API_SETTINGS)}"
        )
    arguments: dict[str, Any] = {"timeout": MODEL_TIMEOUT_S, "max_new_tokens": 256, **settings}
    arguments["max_tokens"] = arguments.pop("max_new_tokens")
    return ApiChatModel(
        model=short if address else model,
        base_url=base_url,
        api_key=SecretStr(key or "none"),  # one's own server needs no key, but the client insists on one
        key_name=key_name,
        prefix_style=style or "none",
        context_window=context_window,
        **arguments,
    )
