"""A reply one does not like is swiped: the other one becomes current, and the first is kept beside it."""

from egosrag import Conversation, load_chat_model, load_role

model = load_chat_model("pocket", temperature=0.9, seed=3)
talk = Conversation(model, load_role("egosrag/data/samples/edda.en.json"))
first = talk.say("What are you afraid of?")
second = talk.regenerate()
print(first.text, "/", second.text)
