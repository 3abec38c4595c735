"""The inference runtime of local checkpoints and GGUF files.

Read in this order: ``checkpoint`` (a name to a loaded engine, adapters), ``engine`` (the decoding loop), ``sampling``
(the choice of a token); then what makes it fast: ``kv_cache`` (prefix caching), ``batching`` (one forward pass for
several generations), ``prompt_lookup`` (speculative decoding), ``cpu`` (matrix products by oneDNN). GGUF files
have ``gguf_file`` (what one states of itself), ``gguf_loading`` (each is loaded once), ``llama_cpp`` (generation and
likelihoods), ``gguf_tokenizer`` and ``prompt_files`` (what was read of prompts, kept between processes).
"""
