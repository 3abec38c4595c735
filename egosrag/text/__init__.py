"""Text that roles and manuals share: language, sentences, words, quotes, numbers, encodings; one of each."""
