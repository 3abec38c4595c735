"""Rules for the embedded 3-million-parameter model, which reads too badly to be trusted with its own words. Frozen.

A card, a reply or a summary of this model is a draft, which these rules check against the text that the model was given
and replace by sentences of that text. No other model needs them, so nothing outside of ``egosrag.assemble`` imports
this package. No rule, pattern or threshold may change without new measurements (``python -m evals.pocket``).

Read in this order:

- ``reviser``: the entry point, with one method for replies, one for cards and one for summaries.
- ``grounding``: which sentence of the card replaces a drafted reply, or whether the draft may stay.
- ``card_matching``: scores the sentences of a card for the user's line.
- ``question_kinds``: the kinds of questions, as regular expressions of questions and of their answers.
- ``first_person``: "She kept her shop" becomes "I kept my shop".
"""
