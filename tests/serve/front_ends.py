"""What front ends send, written after their sources and documentation.

- SillyTavern: ``src/endpoints/backends/chat-completions.js`` (the body of a "Custom" source, of which JSON leaves out
  the undefined fields) and the prompts of ``public/scripts/openai.js``.
- Open WebUI: ``backend/open_webui/routers/openai.py`` and its tasks (titles, tags, follow-up questions).
- LibreChat: "Default parameters" of a custom endpoint, in its documentation.
- LobeChat: the payload of its OpenAI-compatible runtime.
"""

from __future__ import annotations

from typing import Any

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsoUJ"

LINE = "What are you afraid of?"

BODIES: dict[str, dict[str, Any]] = {
    "SillyTavern": {
        "messages": [
            {"role": "system", "content": "Write Edda's next reply in a fictional chat between Edda and Ann."},
            {"role": "system", "content": "[Start a new Chat]"},
            {"role": "assistant", "content": "Welcome aboard. Mind the step."},
            {"role": "user", "content": LINE},
        ],
        "model": "edda.en",
        "temperature": 1,
        "max_tokens": 300,
        "stream": True,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_p": 1,
        "stop": ["\nAnn:", "\nMe:"],
        "logit_bias": {},
        "n": 1,
    },
    "SillyTavern, group with nudge and post-history instructions": {
        "messages": [
            {"role": "system", "content": "[Start a new group chat. Group members: Edda, Gu]"},
            {"role": "system", "name": "example_user", "content": "Hello."},
            {"role": "assistant", "content": "Welcome aboard."},
            {"role": "user", "content": LINE},
            {"role": "system", "content": "[Keep it short.]"},
            {"role": "system", "content": "[Write the next reply only as Edda.]"},
        ],
        "model": "edda.en",
        "temperature": 0.9,
        "max_tokens": 400,
        "stream": False,
        "presence_penalty": 0.2,
        "frequency_penalty": 0,
        "top_p": 0.95,
        "top_k": 40,
        "seed": 42,
        "tools": None,
        "tool_choice": None,
    },
    "SillyTavern, continue": {
        "messages": [
            {"role": "user", "content": LINE},
            {"role": "assistant", "content": "Of the cold"},
            {"role": "system", "content": "[Continue your last message without repeating its original content.]"},
        ],
        "model": "edda.en",
        "stream": True,
    },
    "Open WebUI": {
        "stream": True,
        "model": "edda.en",
        "messages": [
            {"role": "user", "content": "Good morning."},
            {"role": "assistant", "content": "Good morning to you."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": LINE},
                    {"type": "image_url", "image_url": {"url": PIXEL}},
                ],
            },
        ],
        "stream_options": {"include_usage": True},
        "user": {"name": "Ann", "id": "1f0c2c7e", "email": "ann@example.org", "role": "admin"},
    },
    "Open WebUI, title": {
        "model": "edda.en",
        "messages": [{"role": "user", "content": "### Task:\nGenerate a concise, 3-5 word title.\n### Chat:\n" + LINE}],
        "stream": False,
        "max_completion_tokens": 1000,
        "metadata": {"task": "title_generation", "chat_id": "f3"},
    },
    "LibreChat": {
        "model": "edda.en",
        "user": "65f1c0ffee5eed0123456789",
        "stream": True,
        "messages": [
            {"role": "system", "name": "Helper", "content": "You are helpful."},
            {"role": "user", "content": [{"type": "text", "text": LINE}]},
        ],
    },
    "LibreChat, after a tool": {
        "model": "edda.en",
        "user": "65f1c0ffee5eed0123456789",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "user", "content": "What time is it?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "12:00"},
            {"role": "assistant", "content": "Noon."},
            {"role": "user", "content": LINE},
        ],
        "tools": [{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}],
        "tool_choice": "auto",
    },
    "LobeChat": {
        "messages": [
            {"role": "system", "content": ""},
            {"role": "user", "content": LINE},
        ],
        "model": "edda.en",
        "temperature": 1,
        "top_p": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "nulls everywhere": {
        "model": "edda.en",
        "messages": [{"role": "user", "content": LINE, "name": None, "tool_calls": None}],
        **dict.fromkeys(
            ("n", "user", "stream", "stream_options", "stop", "temperature", "top_p", "max_tokens", "seed", "logprobs"),
        ),
    },
}

READ_BY_A_ROLE = {
    "SillyTavern": ["messages.0 (system)", "messages.1 (system)"],
    "SillyTavern, group with nudge and post-history instructions": [
        "presence_penalty",
        "messages.0 (system)",
        "messages.1 (system)",
        "messages.4 (system)",
        "messages.5 (system)",
    ],
    "SillyTavern, continue": ["messages.1 (assistant)", "messages.2 (system)"],
    "Open WebUI": ["messages.2.content.1 (image_url)"],
    "Open WebUI, title": [],
    "LibreChat": ["messages.0 (system)"],
    "LibreChat, after a tool": ["tools", "messages.1.tool_calls", "messages.1 (empty)", "messages.2 (tool)"],
    "LobeChat": ["messages.0 (empty)"],
    "nulls everywhere": [],
}
"""What of each body the header names as left out, where a role answers."""
