"""Chat templates render to the same text as by transformers, and can reach nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError
from jinja2.exceptions import SecurityError

from egosrag.prompts.templates import render_chat
from tests.prompts.chat_templates import TEMPLATES

CHAT = [
    {"role": "user", "content": "Who are you? <b> "},
    {"role": "assistant", "content": "<think>\nHm.\n</think>\n我是孙悟空。"},
    {"role": "user", "content": "And then?"},
]
FEATURES = """\
{% for message in messages %}
    {%- if loop.first %}{% continue %}{% endif %}
    {% generation %}{{ message | tojson }}{% endgeneration %}

{% endfor %}
{{ strftime_now("%Y") }}{{ bos_token }}
"""


@pytest.fixture(scope="module")
def tokenizer(tiny_qwen: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_qwen)


@pytest.mark.parametrize("template", [*TEMPLATES.values(), FEATURES], ids=[*TEMPLATES, "features"])
@pytest.mark.parametrize("opened", [True, False])
def test_a_template_renders_as_by_transformers(tokenizer: Any, template: str, opened: bool) -> None:
    options = {"add_generation_prompt": opened}
    try:
        expected = tokenizer.apply_chat_template(CHAT, chat_template=template, tokenize=False, **options)
    except TemplateError as error:
        with pytest.raises(TemplateError, match=str(error)):
            render_chat(template, CHAT, eos_token="<|im_end|>", **options)
    else:
        assert render_chat(template, CHAT, eos_token="<|im_end|>", **options) == expected


def test_a_template_reaches_nothing_but_its_variables() -> None:
    with pytest.raises(SecurityError):
        render_chat("{{ messages.__class__.__base__.__subclasses__() }}", CHAT)
    with pytest.raises(SecurityError):
        render_chat("{{ messages.append(1) }}", CHAT)
    with pytest.raises(TemplateError, match="no"):
        render_chat("{{ raise_exception('no') }}", CHAT)
