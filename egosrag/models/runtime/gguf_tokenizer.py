"""The tokenizer of a GGUF file, and how llama.cpp's own server is asked for it.

xllamacpp has no function for the tokenizer: the server answers for it on the loopback interface, behind a key that only
this process has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from egosrag.errors import ModelError
from egosrag.models.runtime.gguf_file import GgufFile
from egosrag.prompts.templates import render_chat

if TYPE_CHECKING:
    import httpx


class GgufTokenizer:
    """The tokenizer of a loaded GGUF file, with what ``prompts.encode`` needs of one of transformers.

    Args:
        file: its header.
        ask: sends a JSON object to a path of llama.cpp's server, and gives its answer.

    Attributes:
        chat_template: Jinja source; None where the file has none.
        bos_token_id: the beginning of sequence, where the file has one.
        added_tokens_decoder: the special and added tokens by id.
        added_tokens_encoder: their ids by text.
        all_special_tokens: texts of the special ones.
    """

    def __init__(self, file: GgufFile, ask: Callable[[str, Mapping[str, Any]], Any]) -> None:
        self.chat_template = file.chat_template
        self.bos_token_id = file.special_id("bos")
        self.added_tokens_decoder = file.added_tokens
        self.added_tokens_encoder = {token.text: n for n, token in file.added_tokens.items()}
        self.all_special_tokens = [token.text for token in file.added_tokens.values() if token.special]
        ids = {name: file.special_id(name) for name in ("bos", "eos")}
        self._names = {f"{name}_token": str(file.added_tokens[n]) for name, n in ids.items() if n is not None}
        self._ask = ask
        # Turns come again in every prompt of a conversation.
        self._encode = lru_cache(maxsize=4096)(partial(_tokenize, ask))

    def encode(
        self, text: str, add_special_tokens: bool = True, split_special_tokens: bool = False, verbose: bool = True
    ) -> list[int]:
        """Token ids of ``text``; with ``split_special_tokens`` its special tokens are ordinary characters."""
        return list(self._encode(text, add_special_tokens, not split_special_tokens))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self._ask("/detokenize", {"tokens": list(ids)})["content"])

    def apply_chat_template(
        self, chat: Sequence[Mapping[str, str]], tokenize: bool = False, add_generation_prompt: bool = False
    ) -> str:
        """The text of a conversation by the file's chat template."""
        assert not tokenize, "prompts.encode does it"
        return render_chat(self.chat_template or "", chat, add_generation_prompt=add_generation_prompt, **self._names)


def _tokenize(
    ask: Callable[[str, Mapping[str, Any]], Any], text: str, add_special: bool, parse_special: bool
) -> tuple[int, ...]:
    content = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is no character of UTF-8
    return tuple(
        ask("/tokenize", {"content": content, "add_special": add_special, "parse_special": parse_special})["tokens"]
    )


def loopback_client(address: str, key: str) -> httpx.Client:
    """A client of llama.cpp's own server at ``address``, with the ``key`` of this process."""
    import httpx

    return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=60)


def post(client: httpx.Client, path: str, content: Mapping[str, Any]) -> Any:
    """Post ``content`` as JSON, and return the answer's.

    Raises:
        ModelError: the server answers with an error.
    """
    answer = client.post(path, json=content)
    if answer.is_error:
        raise ModelError(f"llama.cpp's tokenizer fails: {message_of(answer.json())}")
    return answer.json()


def message_of(event: Any) -> str:
    """The message of an error of llama.cpp's server, as one line."""
    with suppress(AttributeError, TypeError):
        event = event.get("error", event)
        event = event.get("message", event)
    text = event if isinstance(event, str) else json.dumps(event)
    return " ".join(text.split())
