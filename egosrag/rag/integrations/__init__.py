"""Adapters of the manual engine for LangChain and LlamaIndex; they take the engine, which does not know them.

* ``langchain``: ``retriever(engine)``, ``runnable(engine)``, and LlamaIndex's retrievers for LangChain.
* ``llamaindex``: ``retriever(engine)``, ``query_engine(engine)``, ``chat_engine(engine)``, and LangChain's retrievers
  for LlamaIndex.
"""
