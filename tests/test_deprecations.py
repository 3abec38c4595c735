"""What LangChain, LangGraph and LlamaIndex are about to remove fails the test that uses it."""

from __future__ import annotations

import warnings

import pytest
from deprecated import deprecated
from langchain_core._api.deprecation import LangChainDeprecationWarning, LangChainPendingDeprecationWarning
from langgraph.warnings import LangGraphDeprecationWarning


@pytest.mark.parametrize(
    "warning",
    [
        LangChainDeprecationWarning("old"),
        LangChainPendingDeprecationWarning("old"),
        LangGraphDeprecationWarning("old", since=(1, 0)),
    ],
)
def test_their_own_warnings_are_errors(warning: Warning) -> None:
    with pytest.raises(type(warning)):
        warnings.warn(warning, stacklevel=1)


@pytest.mark.parametrize("module", ["langchain_openai.x", "langgraph.x", "llama_index.core.x", "egosrag.x"])
def test_deprecated_calls_from_their_modules_and_ours_are_errors(module: str) -> None:
    with pytest.raises(DeprecationWarning):
        warnings.warn_explicit("old", DeprecationWarning, "x.py", 1, module=module)


def test_what_llamaindex_marks_is_an_error() -> None:
    @deprecated("use the new one")
    def old() -> None: ...

    with pytest.raises(DeprecationWarning, match="Call to deprecated"):
        old()
