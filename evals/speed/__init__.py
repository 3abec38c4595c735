"""Speed against named peers, each on the same work in one run; RESULTS.md has the figures.

A command each: ``chat`` (a long conversation), ``many`` (requests at once), ``start`` (time to the first words),
``ppl``, ``rag`` (prompt lookup), ``retrieval``, ``train`` and ``turn`` (all that is not the model, and the stores:
``turn_setup``, ``turn_peers``, ``turn_sessions``). What they share: ``checkpoints`` (random weights in a
real shape; ``grown_pocket``: with pocket's words), ``synthetic_index`` (an index of any size), ``llama_cpp``,
``start_peer`` and ``train_trl`` (peers), ``results`` (output).
"""
