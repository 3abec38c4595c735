"""Two roles for tests, one in each language."""

from __future__ import annotations

from egosrag.schema import Role

TIM = Role.model_validate(
    {
        "name": "Tim",
        "background": ["Tim is a baker from Leeds."],
        "personality": ["He is calm"],
        "speaking_style": ["He speaks slowly."],
        "relations": ["Ann is his sister."],
        "sample_dialogue": [{"speaker": "Me", "text": "Who are you?"}, {"speaker": "Tim", "text": "I am Tim."}],
    }
)
WUKONG = Role.model_validate(
    {
        "name": "悟空",
        "background": ["悟空来自花果山。"],
        "personality": ["他聪明而急躁"],
        "speaking_style": ["他自称俺老孙。"],
        "relations": ["唐僧是他的师父。"],
        "sample_dialogue": [{"speaker": "我", "text": "你是谁？"}, {"speaker": "悟空", "text": "俺老孙是悟空。"}],
    }
)
