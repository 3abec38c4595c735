"""Each step of EGOS is a LangChain runnable: compose them, retry them, batch them."""

from egosrag import load_chat_model, load_role
from egosrag.egos.generate import Generate
from egosrag.egos.organize import Organize
from egosrag.egos.view import ConversationView
from egosrag.schema import Turn

model = load_chat_model("pocket")
role = load_role("egosrag/data/samples/edda.en.json")
view = ConversationView(role, (Turn(id="1", speaker="Me", text="Who are you?"),))

organize = Organize(model.count_tokens, window=900)
composed = organize.invoke(view)
print(composed.messages[-1].text, "/", composed.prefix)

chain = organize | Generate(model, model.count_tokens).with_retry(stop_after_attempt=2) | (lambda reply: reply.text)
print(chain.invoke(view))
print(chain.batch([view, view]))
