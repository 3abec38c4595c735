"""Quantities are numbers with their sign, unit, range and tolerance, the same in every way of writing."""

from __future__ import annotations

import pytest

from egosrag.text.quantities import quantities, without_quantities


def short(text: str) -> list[str]:
    """The quantities of a text, each as ``values unit``."""
    marks = {"range": "..", "tolerance": "±", "size": "×"}
    return [f"{q.bound}{marks.get(q.kind, '').join(q.values)} {q.unit}".strip() for q in quantities(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Every 60,000 km or 24 months.", ["60000 km", "24 month"]),
        ("加注4.6升，等待30分钟。", ["4.6 l", "30 min"]),
        ("等30分。", ["30 min"]),
        ("Wait 007 s", ["7 s"]),
        ("按3次。", ["3 time"]),
        ("Type CR2032 is a battery.", ["cr2032"]),
        ("No numbers.", []),
        ("10 000 km, 10,000 km, 1万公里", ["10000 km"] * 3),
        ("2,5 bar; 2.5 bar", ["2.5 bar"] * 2),
        ("1.234,5 m, 1,234.5 m", ["1234.5 m"] * 2),
        ("down to -20 °C, −20℃, minus 20 degrees Celsius, 零下20摄氏度", ["-20 °C"] * 4),
        ("3-5 s, 3 – 5 s, 3 to 5 s, three to five seconds, 三到五秒, 3秒至5秒, between 3 and 5 s", ["3..5 s"] * 7),
        ("-20~50℃", ["-20..50 °C"]),
        ("-0.74°±0.65°, 2.3 ± 0.1 bar", ["-0.74±0.65 °", "2.3±0.1 bar"]),
        ("10 x 20 mm", ["10×20 mm"]),
        ("½ l, 1/2 l, half litre, 半升", ["0.5 l"] * 4),
        ("215/55 R17", ["215/55", "r17"]),
        ("0W-20, 5W-30, DOT4", ["0w-20", "5w-30", "dot4"]),
        ("12V 60Ah 30min", ["12 V", "60 Ah", "30 min"]),
        ("10³ A", ["10³ A"]),
        (
            "十二个月，一百二十公里/小时，两次，百分之五，三分之一",
            ["12 month", "120 km/h", "2 time", "5 %", "0.333333"],
        ),
        ("一起按一下按钮，一旦关联百度账户", ["1 下"]),
        ("第3页和第三页", ["#3 page", "#3 page"]),
        ("at most 5 l, no more than 5 l, 不超过5升, 5升以下", ["<5 l"] * 4),
        ("at least 5 l, 至少5升, 不少于5升, 5升以上", [">5 l"] * 4),
        ("2023-05-08 12:30", ["2023-05-08", "12:30"]),
        ("one hundred and twenty-five km", ["125 km"]),
        ("5.07 L/100km, 5 升/100公里", ["5.07 l/100 km", "5 l/100 km"]),
    ],
)
def test_quantities(text: str, expected: list[str]) -> None:
    assert short(text) == expected


def test_a_quantity_has_its_place_in_the_text() -> None:
    text = "Fill 4.6 litres and wait."
    (quantity,) = quantities(text)
    assert text[quantity.start : quantity.end] == "4.6 litres"
    assert without_quantities(text) == "Fill   and wait."
