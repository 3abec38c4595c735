"""Summarize (report 7.2.4): in a small window old turns become scenes, and the first line is still known."""

from egosrag import Conversation, load_chat_model, load_role
from egosrag.assemble import reviser_for

role = load_role("egosrag/data/samples/edda.en.json")
model = load_chat_model("pocket")
talk = Conversation(model, role, window=480, reviser=reviser_for(model))  # a larger model needs no reviser
for line in ("Let us meet at the harbour at 8:15.", "What are you afraid of?", "How do you speak?", "Can you help me?"):
    print(f"Me: {line}\nEdda: {talk.say(line).text}")
print("Edda:", talk.say("When do we meet?").text)

print(f"{len(talk.turns())} turns are in the record; scenes replace the oldest of them in the prompt:")
for scene in talk.scenes():
    print("  ", scene.text)
