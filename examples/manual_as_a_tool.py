"""The manual as a tool of an agent, LangChain's or LlamaIndex's: ``create_agent(model, [tool])``, ``FunctionAgent``."""

from egosrag import ManualEngine, ManualIndex, load_chat_model
from egosrag.rag.integrations import langchain, llamaindex

engine = ManualEngine(ManualIndex.build(["egosrag/data/samples/manual.en.pdf"]), load_chat_model("pocket"))

question = {"question": "Where is the release lever of the hood?"}
print(langchain.tool(engine).invoke(question))
print(llamaindex.tool(engine).call(**question))
