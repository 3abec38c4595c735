"""EGOS (report section 7): the steps of a role-play turn, Extract, Generate, Organize and Summarize, each a Runnable.

The steps are handed a model and values, never settings, and do not import each other. Read in this order:

- ``view``: ``ConversationView``, what the steps read of a conversation, and ``Composed``, the prompt made of it.
- ``step``: the base class of the steps, and token counting.
- ``extract``: role cards from sources before the conversation, or a search of the sources for each line.
- ``organize``: composes the prompt from card, scenes and turns, within the token budget.
- ``card_excerpt``: what of a long card is in every prompt, and what is looked up for a line.
- ``generate``: continues the prompt and returns the speech between the quotation marks.
- ``grounding``: whether an answer to a question of fact was read from the prompt; ``character``: whether a role that is
  asked says that it is a machine.
- ``repeats``: the texts that a reply must not only repeat.
- ``summarize``: replaces old turns by scenes.
- ``memory``: static and dynamic memory: when turns are summarized, evicted from the prompt or recalled.
- ``middleware``: static and dynamic memory for the messages of a LangChain agent; ``memory_block``: static
  memory for those of a LlamaIndex agent.
- ``cache_use``: how much of a prompt came from the cache, and why the rest did not.
- ``pipeline``: the steps as one LangGraph graph, with the state that a session stores.

The conversation itself (its record, swipes, stores and group chats) is in ``egosrag.sessions``.
"""
