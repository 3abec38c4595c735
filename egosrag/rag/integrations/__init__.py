"""The engine as parts of LangChain and LlamaIndex: adapters, which the engine does not know."""
