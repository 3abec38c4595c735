"""The manual in LangChain: as a retriever of any chain, or whole as one step of it."""

from egosrag import ManualEngine, ManualIndex, load_chat_model
from egosrag.rag.integrations.langchain import retriever, runnable

engine = ManualEngine(ManualIndex.build(["egosrag/data/samples/manual.zh.pdf"]), load_chat_model("pocket"))

for document in retriever(engine).invoke("空调滤芯在哪里？")[:2]:
    print(document.metadata["page"], document.page_content[:40])

chain = runnable(engine) | (lambda answer: f"{answer.answer} (p. {answer.citations[0].page})")
print(chain.invoke({"question": "空调滤芯在哪里？"}))
