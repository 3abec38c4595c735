"""One name to one chat model: ``load_chat_model("pocket")``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr, ValidationError

from egosrag.errors import ModelError
from egosrag.limits import MODEL_S

if TYPE_CHECKING:
    from egosrag.models.api import PrefixStyle

_PROVIDERS = ("deepseek", "openai", "scripted")
_OPENAI = "https://api.openai.com/v1"
# The address that knows prefix completion; the plain one does not.
_DEEPSEEK = "https://api.deepseek.com/beta"
_DEEPSEEK_WINDOW = 65_536


def load_chat_model(
    name: str = "pocket",
    *,
    adapter: str | None = None,
    template: bool = True,
    dtype: str | None = None,
    device: str | None = None,
    context_window: int | None = None,
    prefix_style: PrefixStyle | None = None,
    **sampling: Any,
) -> BaseChatModel:
    """Load a chat model; whatever it is, a trailing AIMessage is continued and stop strings are trimmed.

    Args:
        name: ``pocket`` (the embedded default), a checkpoint folder, a hub id, ``deepseek:NAME``, ``openai:NAME``
            (any compatible server through ``OPENAI_BASE_URL``), ``scripted:FILE``, or ``PROVIDER:NAME`` of any other
            provider whose LangChain package is installed.
        adapter: folder of a LoRA adapter, for a local model.
        template: False leaves out the chat template of a local model (report 5.2, base models).
        dtype: float32, bfloat16 or float16, for a local model.
        device: as torch names it, for a local model.
        context_window: tokens that prompt and reply may take together; the model's own when None.
        prefix_style: how an ``openai:`` server continues a prefix, "vllm", "deepseek" or "none".
        **sampling: temperature (0, the default, takes the likeliest token), top_p, max_new_tokens (default 256), seed;
            for a local model also top_k and repetition_penalty.

    Raises:
        ModelError: there is no such model, it cannot be loaded, a key is missing, or a setting is wrong.
    """
    provider, colon, rest = name.partition(":")
    try:
        if not colon:
            from egosrag.models.local import LocalChatModel

            return LocalChatModel(
                model=name,
                adapter=adapter,
                template=template,
                dtype=dtype,
                device=device,
                context_window=context_window,
                **sampling,
            )
        if not provider or not rest:
            raise ModelError(_unknown(name))
        if adapter is not None or not template:
            raise ModelError(f"{name} runs elsewhere: an adapter or a prompt without template needs a local model")
        if provider == "scripted":
            return _scripted(rest, context_window, sampling)
        if provider not in _PROVIDERS:
            return _any_provider(provider, rest, sampling)
        return _api(provider, rest, context_window, prefix_style, sampling)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "setting"
        raise ModelError(f"wrong setting {where} for {name}: {first['msg']}") from None


def _unknown(name: str) -> str:
    known = ", ".join(provider + ":NAME" for provider in _PROVIDERS)
    return f"no provider for {name}: use a folder, a hub id, {known}, or PROVIDER:NAME of LangChain"


def _any_provider(provider: str, model: str, sampling: dict[str, Any]) -> BaseChatModel:
    """A model of any provider that LangChain knows, where its package is installed.

    It is told in the prompt to continue a prefix (see ``prefix.continue_prefix``): its own ways are not known here.
    """
    from langchain.chat_models import init_chat_model

    names = {"max_new_tokens": "max_tokens", "temperature": "temperature", "seed": "seed", "top_p": "top_p"}
    settings = {"temperature": 0.0, "max_new_tokens": 256, **sampling}
    unknown = sorted(settings.keys() - names.keys())
    if unknown:
        raise ModelError(f"wrong setting {', '.join(unknown)} for {provider}:{model}: it takes {', '.join(names)}")
    # Not every provider takes a seed or top_p: what stays as it is by default is not sent.
    given = {
        names[key]: value for key, value in settings.items() if (key, value) not in (("seed", None), ("top_p", 1.0))
    }
    try:
        found: BaseChatModel = init_chat_model(model, model_provider=provider, **given)
        return found
    except ImportError as error:
        raise ModelError(f"{provider}:{model} needs another package: {error}") from error
    except ValueError as error:
        if isinstance(error, ValidationError):
            raise
        raise ModelError(_unknown(f"{provider}:{model}")) from error


def _scripted(file: str, context_window: int | None, sampling: dict[str, Any]) -> BaseChatModel:
    from egosrag.models.scripted import ScriptedChatModel

    # A script says what it says: how to choose tokens means nothing to it.
    used = {key: value for key, value in sampling.items() if key == "max_new_tokens"}
    if context_window is not None:
        used["context_window"] = context_window
    return ScriptedChatModel.from_file(file, **used)


def _api(
    provider: str, model: str, context_window: int | None, style: PrefixStyle | None, sampling: dict[str, Any]
) -> BaseChatModel:
    from egosrag.models.api import ApiChatModel

    if provider == "deepseek":
        key_name, base_url = "DEEPSEEK_API_KEY", _DEEPSEEK
        style, context_window = style or "deepseek", context_window or _DEEPSEEK_WINDOW
    else:
        key_name, base_url = "OPENAI_API_KEY", os.environ.get("OPENAI_BASE_URL") or _OPENAI
    key = os.environ.get(key_name)
    if not key and (urlsplit(base_url).hostname or "").endswith((".openai.com", ".deepseek.com")):
        raise ModelError(f"no key for {provider}:{model}: set {key_name} in the environment")
    settings = {"temperature": 0.0, "max_new_tokens": 256, **sampling}
    settings["max_tokens"] = settings.pop("max_new_tokens")
    unknown = sorted(settings.keys() - {"temperature", "top_p", "max_tokens", "seed", "timeout", "max_retries"})
    if unknown:
        raise ModelError(
            f"wrong setting {', '.join(unknown)} for {provider}:{model}: it takes temperature, top_p,"
            " max_new_tokens, seed, timeout and max_retries"
        )
    return ApiChatModel(
        model=model,
        base_url=base_url,
        api_key=SecretStr(key or "none"),  # a server of one's own asks for no key, the client insists on one
        key_name=key_name,
        prefix_style=style or "none",
        context_window=context_window,
        **{"timeout": MODEL_S, **settings},
    )
