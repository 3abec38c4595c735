"""Summarize (report 7.2.4): the window is small, old turns become scenes, and what was said first is still known."""

from egosrag import Conversation, load_chat_model, load_role

role = load_role("egosrag/data/samples/edda.en.json")
talk = Conversation(load_chat_model("pocket"), role, window=480)
for line in ("Let us meet at the harbour at 8:15.", "What are you afraid of?", "How do you speak?", "Can you help me?"):
    print(f"Me: {line}\nEdda: {talk.say(line).text}")
print("Edda:", talk.say("When do we meet?").text)

print(f"{len(talk.turns())} turns are in the record; in the prompt stand for the oldest of them:")
for scene in talk.scenes():
    print("  ", scene.text)
