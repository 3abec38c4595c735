"""How the replies of a conversation are sampled: as the model's publisher recommends, unless the user chose otherwise.

A conversation (a role, a group chat, the plain chatbot) passes :func:`talk_sampling` to each call of its model.
Manuals, Extract, Summarize and query rewriting pass nothing: they get the model's own fields, which are greedy unless
they were set. What is recommended is an attribute of a model, ``talk_sampling``: a checkpoint's comes from its
``generation_config.json``, a server has its own defaults, and a model without the attribute stays greedy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict, cast

if TYPE_CHECKING:
    from egosrag.presets import Style


class TalkSampling(TypedDict, total=False):
    """Sampling parameters of a conversation, by the names of ``load_chat_model``; one that is absent is the model's.

    Attributes:
        temperature: 0 for greedy decoding; None leaves it to the server.
        top_p: sample only from the likeliest tokens that together have this probability.
        top_k: sample only from this many likeliest tokens; 0 for all.
        min_p: leave out tokens that are less likely than this share of the likeliest one's probability.
        repetition_penalty: above 1 makes tokens that the text contains already less likely.
    """

    temperature: float | None
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float


# What the publishers of model families recommend, by the architecture that GGUF files state. Qwen2.5-Instruct's penalty
# is 1.1 up to 1.5B and 1.05 above.
_FAMILY_SAMPLING: Mapping[str, TalkSampling] = MappingProxyType(
    {"qwen2": TalkSampling(temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.1)}
)

_VALID: Mapping[str, Callable[[float], bool]] = MappingProxyType(
    {
        "temperature": lambda value: value >= 0,
        "top_p": lambda value: 0 < value <= 1,
        "top_k": lambda value: value >= 0 and isinstance(value, int),
        "min_p": lambda value: 0 <= value <= 1,
        "repetition_penalty": lambda value: value > 0,
    }
)

_PRECISE_TEMPERATURE = 0.3  # at most
_CREATIVE = TalkSampling(temperature=1.0, top_p=0.95)


def talk_sampling(model: Any, style: Style = "model") -> TalkSampling:
    """The sampling parameters that a conversation passes to each call of ``model``.

    What was set on the model (``load_chat_model(..., temperature=0.5)``, ``model.bind(top_p=0.9)``) is never in it, so
    it stays as it was set; with a temperature of 0 the model is greedy, and nothing is in it.

    Args:
        model: any chat model or LLM; one that recommends nothing keeps its fields.
        style: "model" as its publisher recommends, "precise" the same at a low temperature and "creative" at a high
            one, "greedy" without sampling.
    """
    model, chosen = _unbound(model)
    stated = TalkSampling.__annotations__.keys() & getattr(model, "model_fields_set", set())
    chosen = {name: getattr(model, name) for name in stated} | chosen
    if chosen.get("temperature") == 0:
        return TalkSampling()
    recommended: TalkSampling = getattr(model, "talk_sampling", TalkSampling())
    if style == "greedy":
        recommended = TalkSampling(temperature=0.0)
    elif style == "creative":
        recommended = recommended | _CREATIVE
    elif style == "precise" and "temperature" in recommended:
        own = recommended["temperature"]
        temperature = _PRECISE_TEMPERATURE if own is None else min(own, _PRECISE_TEMPERATURE)
        recommended = recommended | TalkSampling(temperature=temperature)
    return cast("TalkSampling", {name: value for name, value in recommended.items() if name not in chosen})


def call_sampling(model: Any, style: Style, chosen: Mapping[str, Any]) -> TalkSampling:
    """The sampling parameters of calls of ``model`` for which some are ``chosen``; others as in a conversation.

    Args:
        model: any chat model or LLM.
        style: as for ``talk_sampling``.
        chosen: arguments of the calls, such as ``temperature``, ``max_new_tokens`` and ``stop``.
    """
    return cast("TalkSampling", {**talk_sampling(model.bind(**chosen), style), **chosen})


def call_temperature(model: Any, sampling: Mapping[str, Any]) -> float | None:
    """The temperature of a call of ``model`` with the arguments ``sampling``; None where it states none."""
    inner, bound = _unbound(model)
    temperature: float | None = {"temperature": getattr(inner, "temperature", None), **bound, **sampling}["temperature"]
    return temperature


def recommended_sampling(config: Mapping[str, Any]) -> TalkSampling:
    """The sampling parameters in the content of a ``generation_config.json``; none unless ``do_sample`` is true.

    A value of another type or out of range counts as absent. A temperature that is absent is 1, as in transformers.
    """
    if config.get("do_sample") is not True:
        return TalkSampling()
    numbers = {name: config[name] for name in _VALID if type(config.get(name)) in (int, float)}
    found = {name: value for name, value in numbers.items() if _VALID[name](value)}
    return cast("TalkSampling", {"temperature": 1.0, **found})


def read_sampling(folder: str | Path) -> TalkSampling:
    """What the publisher recommends in the ``generation_config.json`` of a checkpoint folder, or beside a GGUF file.

    A folder without the file, or with one that cannot be read, recommends nothing.
    """
    try:
        content = json.loads((Path(folder) / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return TalkSampling()
    return recommended_sampling(content) if isinstance(content, dict) else TalkSampling()


def gguf_sampling(file: str | Path, architecture: str) -> TalkSampling:
    """What is recommended for a GGUF file: by the ``generation_config.json`` beside it, else for its model family.

    Args:
        file: the GGUF file.
        architecture: its ``general.architecture``, such as "qwen2".
    """
    return read_sampling(Path(file).parent) or _FAMILY_SAMPLING.get(architecture, TalkSampling())


def _unbound(model: Any) -> tuple[Any, dict[str, Any]]:
    """The model inside ``bind`` and ``with_config``, and the bound arguments."""
    from langchain_core.runnables import RunnableBinding

    bound: dict[str, Any] = {}
    while isinstance(model, RunnableBinding):
        bound = {**model.kwargs, **bound}
        model = model.bound
    return model, bound
