"""The inference runtime of local checkpoints.

Read in this order: ``checkpoint`` (a name to a loaded engine, adapters), ``engine`` (the decoding loop), ``sampling``
(the choice of a token); then what makes it fast: ``kv_cache`` (prefix caching), ``batching`` (one forward pass for
several generations), ``prompt_lookup`` (speculative decoding), ``cpu`` (matrix products by oneDNN).
"""
