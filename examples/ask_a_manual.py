"""Ask a manual: each sentence of the answer carries the page that supports it, or the manual is said to be silent."""

from egosrag import ManualEngine, ManualIndex, load_chat_model

index = ManualIndex.build(["egosrag/data/samples/manual.en.pdf"])
engine = ManualEngine(index, load_chat_model("pocket"))
for question in ("Where is the release lever of the hood?", "How do I open the sunroof?"):
    answer = engine.ask(question)
    print(question, "->", answer.answer)
    for citation in answer.citations:
        print(f"  page {citation.page}: {citation.quote}")
