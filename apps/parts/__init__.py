"""What the pages share. A page is a file in ``apps``: it gets its context, shows widgets, and calls its own main.

    from apps import parts

    def main() -> None:
        page = parts.page_context()
        st.title(page.t("manual.documents"))
        with parts.errors_shown():                          # an EgosRagError becomes one line on the page
            documents = parts.upload_several(page, page.t("manual.upload"), ["pdf", "md"])
            with parts.model_slot(page):                    # waits in a fair queue for the model
                answer = parts.show_stream(engine.stream(question))

    main()

Read in this order: ``context`` and ``translations`` (what a page knows of its visitor), ``sidebar``, ``remember``
(widgets that outlast a reload), ``model_picker``, ``display`` (untrusted text, errors, streams), ``shared_model``
(loading, and the queue), ``jobs`` (work in the background), ``uploads``, ``pilot`` (what runs in the browser; its style
sheet is ``style.css``); then the parts of single pages: of the chat ``gallery``, ``conversation_list``,
``deleted_list``, ``conversation_head``, ``transcript``, ``replies``, ``conversation_settings``, ``persona_picker``,
``lorebooks``, ``roleplay_settings``, ``prompt_panel``; of the documents ``documents``, ``document_list``, ``answers``,
``cited_page``; ``labelling``, ``runs``.

``page.t(key, **values)``
    a text in the visitor's language, from ``apps/parts/locales/en.yaml`` and ``zh.yaml``: a section for each page, the
    same keys in both. ``page.language`` is "en" or "zh".
``page.side``
    the place in the sidebar for what belongs to the page.
``page.settings``, ``page.visitor``
    the Settings, with the choices of the sidebar; the visitor: ``visitor.folder`` has their files, and
    ``visitor.key`` must be part of every key under which something is stored for them.
``parts.chat_model(page, settings=None)``
    the chat model, loaded once for all visitors; shows that it is loading.
``parts.model_slot(page)``
    a context manager: the visitor's slot at the model; shows how many are ahead. ``slot.give_way()`` between two steps
    of long work lets others go first. The model must not be called without a slot.
``parts.show_stream(stream)``
    shows the ``str`` chunks of a stream as they come and returns its last item (Reply, Answer). When the visitor stops
    the page, the stream is closed. The page runs again afterwards (``st.rerun()``).
``parts.upload_one(page, label, extensions)``, ``parts.upload_several(page, label, extensions)``
    a file uploader; its files are stored and returned as ``egosrag.host.uploads.Upload`` (``path``, and ``name`` to
    show).
``parts.show_said(text)``
    untrusted text with its Markdown: emphasis, lists, code; HTML, pictures and links stay text.
``parts.show_text(text)``, ``parts.show_highlighted(text, start, end)``, ``parts.show_error(error)``,
``parts.escape(text)``
    untrusted text as plain text. ``escape`` is for labels, captions, tabs and headings, which Streamlit renders as
    Markdown (with pictures!). Never pass untrusted text unescaped to st.markdown, st.write, st.caption, st.table,
    st.error, a label or a help text; st.text, st.code, st.dataframe and the options of a selectbox show it as it is.
"""

from apps.parts.context import PageContext, page_context
from apps.parts.display import (
    ROLE_ICON,
    USER_ICON,
    errors_shown,
    escape,
    show_error,
    show_highlighted,
    show_html,
    show_said,
    show_step,
    show_stream,
    show_text,
)
from apps.parts.shared_model import chat_model, model_slot
from apps.parts.sidebar import sidebar
from apps.parts.uploads import upload_one, upload_several

__all__ = [
    "ROLE_ICON",
    "USER_ICON",
    "PageContext",
    "chat_model",
    "errors_shown",
    "escape",
    "model_slot",
    "page_context",
    "show_error",
    "show_highlighted",
    "show_html",
    "show_said",
    "show_step",
    "show_stream",
    "show_text",
    "sidebar",
    "upload_one",
    "upload_several",
]
