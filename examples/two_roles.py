"""Two roles in one scene: who is named replies, then whoever has not spoken for longest."""

from egosrag import load_chat_model, load_role
from egosrag.sessions.group import GroupChat

roles = [load_role(f"egosrag/data/samples/{name}.json") for name in ("edda.en", "juno.en")]
scene = GroupChat(load_chat_model("pocket"), roles)
for line in ("Juno, who are you?", "Edda, what are you afraid of?"):
    reply = scene.say(line)
    print(f"{reply.speaker}: {reply.text}")
print(f"{scene.next_speaker('Can you help me?')} would be next.")
