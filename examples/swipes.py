"""A reply one does not like is swiped: another becomes current, the first is kept beside it and can be gone back to.

The model is a script here, so that the two replies differ: what a model says is not the point.
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
