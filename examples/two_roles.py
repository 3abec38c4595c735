"""Two roles in one scene: who is named replies, then whoever has not spoken for longest."""

from egosrag import load_chat_model, load_role
from egosrag.egos.group import GroupChat

roles = [load_role(f"egosrag/data/samples/{name}.json") for name in ("edda.en", "gu.zh")]
scene = GroupChat(load_chat_model("pocket"), roles)
for line in ("Edda, who are you?", f"{roles[1].name}，你是谁？"):
    reply = scene.say(line)
    print(f"{reply.speaker}: {reply.text}")
