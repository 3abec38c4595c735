"""The embedded model pocket, measured through the pipeline that a user has (frozen).

``cases`` draws cards, conversations and passages from the grammar that trains it, with held-out words; ``handwritten``
has the questions written by hand; ``command`` runs both and writes the model card.
"""
