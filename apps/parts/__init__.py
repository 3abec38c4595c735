"""What every page uses. A page file begins with ``here = parts.begin()`` and ends with the call of its own main.

    from apps import parts

    def main() -> None:
        here = parts.begin()
        st.title(here.words("manual.title"))
        with parts.told():                                  # an EgosRagError becomes one line on the page
            upload = parts.upload(here, here.words("manual.document"), ["pdf", "md"])
            with parts.turn(here):                          # a fair queue before the one model
                answer = parts.streamed(engine.stream(question))

    main()

``here.words(key, **values)``
    a text of the chosen language, out of ``apps/parts/words/en.yaml`` and ``zh.yaml``: a section for each page, the
    same keys in both. ``here.language`` is "en" or "zh".
``here.settings``, ``here.visitor``
    the Settings of the sidebar (model, temperature); who looks: ``visitor.folder`` holds his files and
    ``visitor.key`` must be part of every key of something that is kept for him.
``parts.model(here, settings=None)``
    the chat model, loaded once for all visitors; shows that it loads while it does.
``parts.turn(here)``
    a context: the visitor's turn at the model; shows how many come before. ``turn.rest()`` between two pieces of long
    work lets others go first. Nothing asks a model outside of it.
``parts.streamed(pieces)``
    shows the ``str`` pieces of a stream as they come, gives its last piece (Reply, Answer); a stop closes the stream.
``parts.progress(label)``
    a context that gives a Reporter, shown as a bar; ``progress(label, turn)`` rests between pieces.
``parts.upload(here, label, endings, several=False)``
    a file that the visitor gives, as ``egosrag.host.uploads.Upload`` (``path``, and ``name`` to show), or None; a list
    of them with ``several``. ``egosrag.host.uploads.uploads(here.visitor, endings)`` are those that he gave before.
``parts.text(text)``, ``parts.label(text)``, ``parts.problem(error)``, ``parts.marked(text, start, end)``
    untrusted text as text. ``label`` is for labels, captions, tabs and headings, which Streamlit reads as Markdown
    (with pictures!). Never give untrusted text to st.markdown, st.write, st.caption, st.table, st.error, a label or a
    help text as it is; st.text, st.code, st.dataframe and selectbox options show it as it is.
"""

from apps.parts.frame import Here, begin, frame
from apps.parts.server import model, turn
from apps.parts.show import label, marked, problem, progress, streamed, text, told
from apps.parts.uploads import upload

__all__ = [
    "Here",
    "begin",
    "frame",
    "label",
    "marked",
    "model",
    "problem",
    "progress",
    "streamed",
    "text",
    "told",
    "turn",
    "upload",
]
