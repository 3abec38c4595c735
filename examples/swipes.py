"""Swipes: a regenerated reply replaces the first one, which is kept and can be chosen again.

The model is a script here, so that the two replies differ.
"""

from egosrag import Conversation, load_role
from egosrag.models.scripted import ScriptedChatModel

model = ScriptedChatModel(responses=['Of fog. A storm shouts at you first."', 'Ask Pip, he likes to talk."'])
talk = Conversation(model, load_role("egosrag/data/samples/edda.en.json"))
talk.say("What are you afraid of?")
talk.regenerate()
print("now:", talk.turns()[-1].text)
for number, text in enumerate(talk.swipes()):
    print(f"  reply {number}: {text}")

talk.choose(0)
print("now:", talk.turns()[-1].text)
