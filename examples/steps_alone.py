"""Each step of EGOS is a LangChain runnable: compose them, retry them, stream them."""

from egosrag import load_chat_model, load_role
from egosrag.egos.generate import Generate
from egosrag.egos.organize import Organize
from egosrag.egos.step import Talk
from egosrag.schema import Turn

model = load_chat_model("pocket")
role = load_role("egosrag/data/samples/edda.en.json")
talk = Talk(role, (Turn(id="1", speaker="Me", text="Who are you?"),), user="Me")

organize = Organize(model.count_tokens, window=900)
composed = organize.invoke(talk)
print(composed.messages[-1].text, "/", composed.prefix)

chain = organize | Generate(model, model.count_tokens).with_retry(stop_after_attempt=2) | (lambda reply: reply.text)
print(chain.invoke(talk))
print(chain.batch([talk, talk]))
