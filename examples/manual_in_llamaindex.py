"""The manual in LlamaIndex: as a query engine, and as a chat engine that understands a follow-up from what was said."""

from egosrag import ManualEngine, ManualIndex, load_chat_model
from egosrag.rag.integrations.llamaindex import chat_engine, query_engine

engine = ManualEngine(ManualIndex.build(["egosrag/data/samples/manual.en.pdf"]), load_chat_model("pocket"))

response = query_engine(engine).query("Where is the release lever of the hood?")
print(response, [node.metadata["page"] for node in response.source_nodes])

chat = chat_engine(engine)
for line in ("Where is the spare wheel?", "How fast may I drive with it?"):
    answer = chat.chat(line)
    print(line, "->", answer, [node.metadata["page"] for node in answer.source_nodes])
