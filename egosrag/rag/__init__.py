"""Manual question answering (report section 6): documents, index, retrieval, answers with checked citations."""
