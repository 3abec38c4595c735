"""``egosrag doctor``: report versions, models, servers and keys on this machine, and how to fix what is missing."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from egosrag.cli.options import Config, Debug, Store, load_settings
from egosrag.console import print_json
from egosrag.models.servers import PROGRAMS, find_servers

if TYPE_CHECKING:
    from egosrag.settings import Settings

EXAMPLES = ("egosrag doctor", "egosrag doctor --json", "egosrag doctor --session monday")
State = Literal["ok", "missing", "note"]
CORE = ("torch", "transformers", "peft", "langchain-core", "langgraph", "llama-index-core", "faiss-cpu")
EXTRAS = {
    "app": "streamlit",
    "finetune": "datasets",
    "evals": "matplotlib",
    "gguf": "xllamacpp",
    "serve": "fastapi",
    "mcp": "mcp",
    "postgres": "psycopg",
}
# Instructions of a processor by torch's names, and by those of llama.cpp: with them a prompt is read faster.
INSTRUCTIONS = {
    "avx512_f": "AVX512",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "amx_int8": "AMX_INT8",
}
# Without what needs Rust (grammars of another kind), TLS (it is used on loopback only) and web pages.
_WITHOUT = "-DLLAMA_LLGUIDANCE=OFF -DLLAMA_BUILD_BORINGSSL=OFF -DLLAMA_BUILD_UI=OFF"
BUILD = f"CMAKE_ARGS='{_WITHOUT}' pip install --force-reinstall --no-deps"
KEYS = {"OPENAI_API_KEY": "openai:NAME", "DEEPSEEK_API_KEY": "deepseek:NAME"}


class Finding(NamedTuple):
    """One row of the report; ``mend`` is the command or setting that fixes it, empty if there is nothing to do."""

    what: str
    state: State
    detail: str
    mend: str = ""


def doctor(
    session: Annotated[
        str | None, typer.Option(help="Report how much of each prompt of a conversation was cached, and why not more.")
    ] = None,
    store: Store = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Check the installation: versions, device, models, API keys.

    For what is missing, print the command that fixes it. With --session, report the prompt cache of a conversation
    instead: "again" counts the tokens of the prompt before that had to be computed again.
    """
    if session is not None:
        report_session(load_settings(config, store=store), session, as_json)
        return
    raise typer.Exit(0 if report(load_settings(config), as_json) else 1)


def report_session(settings: Settings, session: str, as_json: bool) -> None:
    """Print the use of the prompt cache by the replies of a session.

    Raises:
        SessionError: there is no such session.
        StoreError: the store cannot be used.
    """
    from egosrag.egos.cache_use import CAUSES
    from egosrag.sessions.catalog import cache_uses_of
    from egosrag.sessions.store import open_store

    with open_store(settings.session_store) as opened:
        uses = cache_uses_of(opened, session)
    if as_json:
        print_json([{**use.model_dump(), "share": round(use.share, 3)} for use in uses])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("reply", "prompt", "cached", "share", "again", "first token", "why"):
        table.add_column(column, justify="left" if column == "why" else "right")
    for number, use in enumerate(uses, 1):
        first = "" if use.first_token_s is None else f"{use.first_token_s:.1f} s"
        counts = (number, use.prompt, use.cached, f"{use.share:.0%}", use.lost, first, CAUSES[use.cause])
        table.add_row(*map(str, counts))
    Console(highlight=False, markup=False).print(table)


def report(settings: Settings, as_json: bool) -> bool:
    """Print the report.

    Returns:
        Whether everything that the core needs is there.
    """
    findings = [*_versions(), _device(), *_llama_cpp(), *_models(settings), *_servers(PROGRAMS)]
    findings += [*_keys(), *_extras(), *_folders(settings)]
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("what", "state", "found", "what to do"):
            table.add_column(column, overflow="fold")
        for finding in findings:
            table.add_row(*finding)
        Console(highlight=False, markup=False).print(table)
    return all(finding.state != "missing" for finding in findings)


def _versions() -> list[Finding]:
    from importlib import metadata

    system = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    findings = [Finding("egosrag", "ok", metadata.version("egosrag")), Finding("python", "ok", system)]
    for name in CORE:
        try:
            findings.append(Finding(name, "ok", metadata.version(name)))
        except metadata.PackageNotFoundError:
            findings.append(Finding(name, "missing", "not installed", f"pip install {name}"))
    return findings


def _device() -> Finding:
    if not find_spec("torch"):
        return Finding("device", "missing", "torch is not installed", "pip install torch")
    import torch

    if torch.cuda.is_available():
        name, memory = torch.cuda.get_device_name(0), torch.cuda.get_device_properties(0).total_memory
        return Finding("device", "ok", f"cuda: {name}, {memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        return Finding("device", "ok", "mps: Apple GPU")
    return Finding("device", "ok", f"cpu: {torch.get_num_threads()} threads")


def _llama_cpp() -> list[Finding]:
    """Whether llama.cpp was built for this processor: its wheels are built for older ones too."""
    if not (find_spec("xllamacpp") and find_spec("torch")):
        return []
    import torch
    import xllamacpp

    built = {name.strip() for name, _, on in _options(xllamacpp.get_system_info()) if on.strip() == "1"}
    has = torch.cpu.get_capabilities()
    lacking = [name for ours, name in INSTRUCTIONS.items() if has.get(ours) and name not in built]
    if not lacking:
        return [Finding("llama.cpp", "ok", f"xllamacpp {xllamacpp.__version__}, built for this processor")]
    detail = f"xllamacpp {xllamacpp.__version__}, built without {', '.join(lacking)}, which this processor has"
    mend = (
        f"{BUILD} --no-binary xllamacpp xllamacpp=={xllamacpp.__version__}  # minutes, needs cmake and a C++ compiler"
    )
    return [Finding("llama.cpp", "note", detail, mend)]


def _options(system_info: str) -> list[tuple[str, str, str]]:
    """The options in a text such as ``CPU : SSE3 = 1 | AVX2 = 1 | REPACK = 1 |``."""
    return [option.rpartition(":")[2].partition("=") for option in system_info.split("|")]


def _models(settings: Settings) -> list[Finding]:
    from egosrag.errors import ModelError
    from egosrag.models.catalogue import entries, resolve
    from egosrag.models.runtime.checkpoint import embedded_folder

    pocket = Finding("model pocket", "ok", "embedded")
    if not any(embedded_folder().glob("*.safetensors")):
        pocket = Finding("model pocket", "missing", "its weights are missing", "pip install --force-reinstall egosrag")
    model = settings.model + (f" with {settings.adapter}" if settings.adapter else "")
    selected = Finding("selected model", "note", model)
    try:
        resolve(settings.model, settings.models_dir)
    except ModelError:
        mend = f"egosrag models get {settings.model}"
        selected = Finding("selected model", "missing", f"{model} is not on this machine", mend)
    here = [entry.name for entry in entries().values() if entry.is_here(settings.models_dir)]
    fetched = Finding("models fetched", "note", ", ".join(here) or "none", "" if here else "egosrag models")
    return [pocket, selected, fetched, _memory(), _hub_cache()]


def _memory() -> Finding:
    """Which models of the catalogue the free memory has space for."""
    import psutil

    from egosrag.models.catalogue import entries

    memory = psutil.virtual_memory()
    fitting = [entry.name for entry in entries().values() if entry.memory <= memory.available]
    names = "all models of egosrag models" if len(fitting) == len(entries()) else ", ".join(fitting) or "only pocket"
    return Finding("memory", "note", f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free, for {names}")


def _hub_cache() -> Finding:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = sorted(repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model")
    except CacheNotFound:
        repos = []
    return Finding("models of the hub", "note", ", ".join(repos) or "none")


def _servers(servers: Mapping[str, int]) -> list[Finding]:
    """The model servers that run on this machine, each with the command that uses it.

    Args:
        servers: the port of each program.
    """
    findings = []
    for program, address, names in find_servers(servers):
        mend = f"load a model in {program}"
        if names:
            mend = f"OPENAI_BASE_URL={address} egosrag chat --role edda --model {shlex.quote(f'openai:{names[0]}')}"
            mend += " --set prefix_style=vllm" if program == "llama-server" else ""
        findings.append(Finding(program, "note", f"{address}: {', '.join(names) or 'no model'}", mend))
    looked_for = ", ".join(f"{program} ({port})" for program, port in servers.items())
    return findings or [Finding("model servers", "note", f"none on this machine: {looked_for}")]


def _keys() -> list[Finding]:
    """Whether each API key is set, never its value."""
    findings = []
    for name, use in KEYS.items():
        state = ("set", "") if os.environ.get(name) else ("not set", f"export {name}=... to use --model {use}")
        findings.append(Finding(name, "note", *state))
    return findings


def _extras() -> list[Finding]:
    return [
        Finding(f"extra {extra}", "note", "installed")
        if find_spec(module)
        else Finding(f"extra {extra}", "note", "not installed", f"pip install 'egosrag[{extra}]'")
        for extra, module in EXTRAS.items()
    ]


def _folders(settings: Settings) -> list[Finding]:
    findings = []
    for name, folder in (("data_dir", settings.data_dir), ("cache_dir", settings.cache_dir)):
        # The folder need not exist yet: its nearest existing parent decides.
        parent = next(p for p in (folder, *folder.absolute().parents) if p.exists())
        writable = parent.is_dir() and os.access(parent, os.W_OK)
        mend = "" if writable else f"set EGOSRAG_{name.upper()} to a folder that you may write to"
        findings.append(Finding(name, "ok" if writable else "missing", str(folder), mend))
    return findings
