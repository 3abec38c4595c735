"""Adapters of the manual engine for LangChain and LlamaIndex; they take the engine, which does not know them.

* ``langchain``: ``retriever(engine)``, ``runnable(engine)``, ``tool(engine)``, and LlamaIndex's retrievers for
  LangChain.
* ``llamaindex``: ``retriever(engine)``, ``query_engine(engine)``, ``chat_engine(engine)``, ``tool(engine)``, and
  LangChain's retrievers for LlamaIndex.
* ``vector_store``: ``ManualVectorStore``, the index as a LangChain vector store.
* ``tools``: what an agent's model reads of the manual as a tool, for both.
"""
