"""Two roles in one scene: the one that is named replies, else the one that has not spoken for longest."""

from egosrag import load_chat_model, load_role
from egosrag.assemble import reviser_for
from egosrag.sessions.group import GroupChat

roles = [load_role(f"egosrag/data/samples/{name}.json") for name in ("edda.en", "juno.en")]
model = load_chat_model("pocket")
scene = GroupChat(model, roles, reviser=reviser_for(model))
for line in ("Juno, who are you?", "Edda, what are you afraid of?"):
    reply = scene.say(line)
    print(f"{reply.speaker}: {reply.text}")
reply = scene.go_on()
print(f"{reply.speaker}: {reply.text}")
