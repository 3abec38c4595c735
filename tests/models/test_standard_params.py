"""LangChain's standard parameters of chat models: what they do in ours, beside being accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel

from egosrag.errors import ModelError
from egosrag.models.api import ApiChatModel
from egosrag.models.local import LocalChatModel
from egosrag.models.scripted import ScriptedChatModel
from tests.models.test_api import Server, serve
from tests.models.tool_server import respond

REPLY = "I am Tim. Yes!"
FixedReply = Callable[..., Any]


def test_the_models_own_stop_strings_end_a_reply_and_are_never_partly_streamed(fixed_reply: FixedReply) -> None:
    model = fixed_reply(REPLY, stop=["m. Y"])
    pieces = [chunk.text for chunk in model.stream("Who?")]
    assert "".join(pieces) == "I am Ti"
    assert all("m." not in piece for piece in pieces)
    assert model.invoke("Who?").response_metadata["finish_reason"] == "stop"


def test_the_stop_strings_of_a_call_replace_the_models_own(fixed_reply: FixedReply) -> None:
    model = fixed_reply(REPLY, stop="am")
    assert model.invoke("Who?").text == "I "
    assert model.invoke("Who?", stop=[" Yes"]).text == "I am Tim."
    assert model.invoke("Who?", stop=[]).text == REPLY


def test_a_script_has_them_too_and_records_what_applied() -> None:
    model = ScriptedChatModel(responses=[REPLY] * 2, stop=["Tim"], max_tokens=3)
    assert model.invoke("Who?").text == "I am "
    assert model.invoke("Who?", stop=["!"], max_tokens=2).text == "I am"
    assert [call.stop for call in model.calls] == [("Tim",), ("!",)]


def test_max_tokens_is_max_new_tokens(tiny: Callable[..., Any]) -> None:
    model = tiny(max_new_tokens=12, max_tokens=3)
    assert model.max_new_tokens == 12
    assert type(model)(model=model.model, max_tokens=3).max_new_tokens == 3
    assert type(model)(model=model.model, max_tokens=None).max_new_tokens == 256
    assert model.invoke("Who?", max_tokens=2).usage_metadata["output_tokens"] <= 2


def test_traces_name_provider_model_and_parameters(tiny: Callable[..., Any]) -> None:
    model = tiny(stop=["x"])
    params = model._get_ls_params(max_tokens=5)
    assert (params["ls_provider"], params["ls_model_name"]) == ("egosrag", model.model)
    assert (params["ls_max_tokens"], params["ls_stop"], params["ls_temperature"]) == (5, ["x"], 0.0)
    assert ScriptedChatModel(responses=[])._get_ls_params()["ls_model_name"] == "scripted"


def test_models_with_other_stop_strings_share_no_cached_reply(tiny: Callable[..., Any]) -> None:
    one, other = (tiny(stop=stop)._get_llm_string(stop=None) for stop in (["x"], ["y"]))
    assert one != other


def test_a_streaming_model_gives_callbacks_each_token_of_invoke(fixed_reply: FixedReply) -> None:
    class Tokens(BaseCallbackHandler):
        def __init__(self) -> None:
            self.tokens: list[str] = []

        def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
            self.tokens.append(token)

    tokens = Tokens()
    fixed_reply(REPLY, streaming=True).invoke("Who?", config={"callbacks": [tokens]})
    assert len(tokens.tokens) > 2
    assert "".join(tokens.tokens) == REPLY


def test_what_only_a_server_has_is_refused_as_any_unknown_setting(tiny_qwen: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        LocalChatModel(model=str(tiny_qwen), timeout=5)  # type: ignore[call-arg]
    with pytest.raises(ModelError, match="unknown setting timeout"):
        LocalChatModel(model=str(tiny_qwen)).invoke("Who?", timeout=5)


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as server:
        yield server


def api(server: Server, **settings: Any) -> ApiChatModel:
    url = f"http://127.0.0.1:{server.server_port}/v1"
    return ApiChatModel(model="m", base_url=url, api_key="sk-1", max_retries=0, **settings)


def test_a_stop_string_of_the_api_model_in_the_prefix_is_applied_here_and_not_sent(server: Server) -> None:
    server.chunks = ['Tim: "', 'I am Tim."', " And"]
    asked = [HumanMessage("Who?"), AIMessage('Tim: "')]
    pieces = [chunk.text for chunk in api(server, stop=['"', "Me:"]).stream(asked)]
    assert "".join(pieces) == "I am Tim."
    assert server.requests[0]["stop"] == ["Me:"]


def test_no_stop_string_is_sent_where_each_is_in_the_prefix(server: Server) -> None:
    server.chunks = ['Tim: "', 'I am Tim."', " And"]
    reply = api(server, stop='"').invoke([HumanMessage("Who?"), AIMessage('Tim: "')])
    assert (reply.text, reply.response_metadata["finish_reason"]) == ("I am Tim.", "stop")
    assert "stop" not in server.requests[0]


def test_the_api_models_own_stop_strings_are_replaced_by_those_of_a_call(server: Server) -> None:
    server.chunks = ["I am Tim.", " Me: Yes"]
    model = api(server, stop=["Me:"])
    assert [model.invoke("Who?").text, model.invoke("Who?", stop=["Tim"]).text] == ["I am Tim. ", "I am "]
    assert [request["stop"] for request in server.requests] == [["Me:"], ["Tim"]]


def test_api_models_with_other_stop_strings_share_no_cached_reply(server: Server) -> None:
    one, other = (api(server, stop=stop)._get_llm_string(stop=None) for stop in (["x"], ["y"]))
    assert one != other


def test_structured_output_keeps_the_object_that_was_parsed(server: Server) -> None:
    class Wheel(BaseModel):
        place: str
        number: int

    server.respond = respond
    found = api(server).with_structured_output(Wheel).invoke("1 wheel 'under the boot'")
    assert found == Wheel(place="under the boot", number=1)
