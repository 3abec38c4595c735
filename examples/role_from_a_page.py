"""Extract (report 7.2.2): sources become a role card, each statement with its places in the sources."""

import tempfile
from pathlib import Path

from egosrag import Conversation, Extract, load_chat_model
from egosrag.assemble import reviser_for
from egosrag.rag.documents.load import read_text
from egosrag.roles.files import save_role

model = load_chat_model("pocket")
page = read_text("egosrag/data/samples/edda.en.html")
role = Extract(model, reviser=reviser_for(model)).invoke(([("edda.en.html", page)], "Edda"))
for statement in (*role.background, *role.personality, *role.speaking_style, *role.relations):
    places = ", ".join(f"{found.source} {found.start}-{found.end}" for found in statement.evidence)
    print(f"{statement.text}  [{places}]")

save_role(role, Path(tempfile.mkdtemp()) / "edda.json")
print(Conversation(model, role, reviser=reviser_for(model)).say("Who are you?").text)
