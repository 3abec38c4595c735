import streamlit as st
from apps import parts
here = parts.begin()
st.title(here.words("pages.roleplay"))
parts.text("hello <b>")
