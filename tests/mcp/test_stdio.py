"""``egosrag mcp`` as a host sees it: the SDK's client, a real process, and the model pocket."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp import MCPError
from PIL import Image

from egosrag.rag.index.manual_index import ManualIndex
from egosrag.sessions.catalog import list_sessions
from egosrag.sessions.store import open_store
from egosrag.settings import Settings
from tests.mcp.client import PROGRAM, Connection, connected, program

LEVER = "The release lever is under the dashboard on the left, beside the driver's knee."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mcp")
    (path / "kettle.txt").write_text("The kettle holds 1.7 litres.\n\nDescale the kettle with vinegar every month.\n")
    ManualIndex.build([path / "kettle.txt"], path / "index")
    return path


@pytest.fixture(scope="module")
def host(folder: Path) -> Iterator[Connection]:
    served = ["--doc", "sample:manual.en", "--doc", "notes=kettle.txt", "--index", "kettle=index", "--role", "edda"]
    with connected(program(folder, *PROGRAM, *served)) as connection:
        yield connection


def test_every_tool_says_what_it_is_for(host: Connection) -> None:
    tools = {tool.name: tool for tool in host.do("list_tools").tools}
    assert list(tools) == ["ask_manual", "search_manual", "say_to_role", "remember"]
    for tool in tools.values():
        assert tool.description and tool.title and tool.output_schema and tool.annotations
        for field in tool.input_schema["properties"].values():
            assert field["description"]
    assert tools["ask_manual"].input_schema["properties"]["manual"]["enum"] == ["manual.en", "notes", "kettle"]
    assert tools["ask_manual"].input_schema["required"] == ["question", "manual"]
    assert tools["say_to_role"].input_schema["required"] == ["line"], "there is only one role"
    assert [tool.annotations.read_only_hint for tool in tools.values()] == [True, True, False, False]
    assert "data" in host.client.instructions


def test_an_answer_has_checked_citations_as_fields_as_text_and_as_links(host: Connection) -> None:
    result = host.call("ask_manual", question="Where is the release lever of the hood?", manual="manual.en")
    uri = "egosrag://manuals/manual.en/manual.en.pdf/4?quote=23-102"
    assert result.structured_content == {
        "manual": "manual.en",
        "answer": LEVER,
        "refused": False,
        "mode": "quoted",
        "citations": [
            {
                "source": "manual.en.pdf",
                "page": 4,
                "quote": LEVER,
                "score": 1.0,
                "page_uri": uri,
                "page_type": "image/png",
            }
        ],
    }
    text, link = result.content
    assert text.text == f'{LEVER}\n[1] manual.en.pdf, p. 4: "{LEVER}"'
    assert (link.type, link.uri, link.mime_type, link.name) == (
        "resource_link",
        uri,
        "image/png",
        "manual.en.pdf, p. 4",
    )


def test_a_manual_that_does_not_say_refuses(host: Connection) -> None:
    fields = host.fields("ask_manual", question="How do I open the sunroof?", manual="manual.en")
    assert (fields["refused"], fields["citations"]) == (True, [])


def test_the_page_of_a_pdf_is_a_picture_with_the_quote_highlighted(host: Connection) -> None:
    found = host.fields("ask_manual", question="Where is the release lever of the hood?", manual="manual.en")
    uri = found["citations"][0]["page_uri"]

    def picture(uri: str) -> Image.Image:
        (content,) = host.do("read_resource", uri).contents
        assert content.mime_type == "image/png"
        return Image.open(io.BytesIO(base64.b64decode(content.blob))).convert("RGB")

    plain, marked = picture(uri.partition("?")[0]), picture(uri)
    assert plain.size == marked.size and plain.width >= 1000
    colours = [{colour for _, colour in page.getcolors(page.width * page.height)} for page in (plain, marked)]
    assert [(255, 229, 114) in found for found in colours] == [False, True], "yellow"


@pytest.mark.parametrize("manual", ["notes", "kettle"])
def test_a_page_without_a_picture_is_text(host: Connection, manual: str) -> None:
    fields = host.fields("ask_manual", question="How much does the kettle hold?", manual=manual)
    (citation,) = fields["citations"]
    assert citation["page_type"] == "text/plain"
    (content,) = host.do("read_resource", citation["page_uri"]).contents
    assert (content.mime_type, citation["quote"] in content.text) == ("text/plain", True)


def test_a_search_gives_passages_with_their_places(host: Connection) -> None:
    result = host.call("search_manual", query="front hood", manual="manual.en", limit=2)
    first, second = result.structured_content["passages"]
    assert (first["source"], first["page"]) == ("manual.en.pdf", 4)
    assert "Opening the front hood" in first["section"] and LEVER in first["text"]
    assert first["score"] >= second["score"]
    assert result.content[0].text.count("\n") == 1, "a line for each passage"
    nothing = host.call("search_manual", query="zxqv", manual="manual.en")
    assert (nothing.structured_content["passages"], nothing.content[0].text) == ([], "Nothing was found.")


def test_the_pages_are_listed(host: Connection) -> None:
    resources = host.do("list_resources").resources
    assert resources[3].uri == "egosrag://manuals/manual.en/manual.en.pdf/4"
    assert [r.uri for r in resources[-2:]] == [
        "egosrag://manuals/notes/kettle.txt/1",
        "egosrag://manuals/kettle/kettle.txt/1",
    ]
    (template,) = host.do("list_resource_templates").resource_templates
    assert template.uri_template == "egosrag://manuals/{manual}/{source}/{page}{?quote}"


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "egosrag://manuals/manual.en/..%2F..%2F..%2Fetc%2Fpasswd/1",
        "egosrag://manuals/manual.en/%2Fetc%2Fpasswd/1",
        "egosrag://manuals/manual.en/../../etc/passwd/1",
        "egosrag://manuals/..%2Findex/kettle.txt/1",
        "egosrag://manuals/manual.en/manual.en.pdf/999",
        "egosrag://manuals/manual.en/manual.en.pdf/-1",
        "egosrag://manuals/manual.en/manual.en.pdf/４",
        "egosrag://manuals/manual.en/manual.en.pdf%00/4",
        "egosrag://manuals/manual.en/manual.en.pdf/4?quote=../..",
        "egosrag://manuals/manual.en/%ff/4",
        "egosrag://[/manual.en/manual.en.pdf/4",
        "nonsense",
    ],
)
def test_a_uri_reaches_nothing_but_pages_that_are_served(host: Connection, uri: str) -> None:
    with pytest.raises(MCPError, match="there is no resource") as error:
        host.do("read_resource", uri)
    assert error.value.code == -32602


def test_a_conversation_goes_on_and_others_are_apart(host: Connection, folder: Path) -> None:
    first = host.fields("say_to_role", line="Let us meet at the harbour at 8:15.", role="edda", session="harbour")
    assert (first["speaker"], first["session"], first["stop_reason"]) == ("Edda", "harbour", "quote")
    again = host.fields("say_to_role", line="When do we meet?", role=None, session="harbour")
    assert "8:15" in again["reply"]
    usual = host.fields("say_to_role", line="What are you afraid of?", session=None)
    assert (usual["session"], usual["reply"]) == ("mcp-edda", "I am afraid of fog, sailor.")
    with open_store(Settings(data_dir=folder / "data").session_store) as store:
        turns = {info.session: info.turns for info in list_sessions(store)}
    assert turns["harbour"] == 5, "a greeting, two lines, two replies"


def test_a_note_is_kept_before_the_first_line_and_after(host: Connection) -> None:
    kept = host.fields("remember", note="Ann is allergic\nto nuts", session="kitchen")
    assert kept == {"role": "edda", "session": "kitchen", "notes": ["Ann is allergic to nuts."]}
    host.fields("say_to_role", line="Good evening.", session="kitchen")
    kept = host.fields("remember", note="安有一只猫", session="kitchen")
    assert kept["notes"] == ["Ann is allergic to nuts.", "安有一只猫。"]
    assert host.fields("remember", note="安有一只猫", session="kitchen")["notes"] == kept["notes"], "once"


def test_an_error_is_one_line_that_says_what_to_do(host: Connection) -> None:
    assert host.error("ask_manual", manual="kettle").startswith("question: Field required; call the tool as")
    assert host.error("ask_manual", question="Why?") == "the manual is missing: give one of manual.en, notes, kettle"
    error = host.error("ask_manual", question="Why?", manual="../etc")
    assert error == "there is no manual '../etc': give one of manual.en, notes, kettle"
    assert host.error("ask_manual", question=" \n", manual="kettle") == "question: it is empty, write one"
    assert host.error("search_manual", query="x", manual="kettle", limit=1000).startswith("limit: Input should be")
    assert host.error("say_to_role", line={"a": 1}).startswith("line: Input should be a valid string")
    assert host.error("say_to_role", line=" ").startswith("the line is empty")
    assert host.error("remember", note="word " * 2000).startswith("what is pinned would be too long for the prompt")
    assert host.error("delete_everything").startswith("there is no tool 'delete_everything': the tools are ask_manual")


def test_steps_are_reported_where_the_client_wants_them(host: Connection) -> None:
    steps: list[tuple[float, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, message))

    arguments = {"question": "Where is the release lever of the hood?", "manual": "manual.en"}
    host.do("call_tool", "ask_manual", arguments, progress_callback=note)
    messages = [message for _, message in steps]
    assert messages[0] == "opening the manual manual.en"
    assert messages[-3:-1] == ["searching", "found 5 passages on 4 pages"] and messages[-1] == LEVER
    assert [number for number, _ in steps] == sorted({number for number, _ in steps}), "each is more than the last"
