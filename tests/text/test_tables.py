"""Table rows in text: each cell after its header, and nothing that is no table changed."""

from __future__ import annotations

import pytest

from egosrag.text.tables import cells, header_above, labelled_rows

FLUIDS = "Fluids\n| Fluid | Type | Amount |\n| Petrol | unleaded | 52 litres |\n| Oil | 0W-20 | |\nCheck the oil."


def test_each_cell_follows_its_header() -> None:
    expected = "Fluids\nFluid: Petrol; Type: unleaded; Amount: 52 litres.\nFluid: Oil; Type: 0W-20.\nCheck the oil."
    assert labelled_rows(FLUIDS, "en") == expected
    assert labelled_rows("液体 | 用量\n机油 | 4.6升", "zh") == "液体：机油；用量：4.6升。"


@pytest.mark.parametrize(
    "text",
    [
        "Press A | B to switch.",
        "| one | row |",
        "| two | cells |\n| three | of | them |",
        "Fluid: oil | Amount: 4.6 litres\nFluid: petrol | Amount: 52 litres",
        "no\ntable",
        "",
    ],
)
def test_what_has_no_header_of_its_own_stays(text: str) -> None:
    assert labelled_rows(text, "en") == text


def test_a_text_that_begins_inside_a_table_has_no_header_for_its_first_rows() -> None:
    text = "| Oil | 0W-20 |\n| Coolant | blue |\nWheels\n| Load | Front |\n| Full | 2.5 bar |"
    labelled = "| Oil | 0W-20 |\n| Coolant | blue |\nWheels\nLoad: Full; Front: 2.5 bar."
    assert labelled_rows(text, "en", starts_inside=True) == labelled


def test_the_header_of_a_row_is_the_first_row_of_its_table() -> None:
    header = "| Fluid | Type | Amount |"
    assert [header_above(FLUIDS, FLUIDS.index(row)) for row in ("| Petrol", "| Oil")] == [header, header]
    assert [header_above(FLUIDS, FLUIDS.index(row)) for row in ("Fluids", "| Fluid", "Check")] == ["", "", ""]
    assert cells("| a | b |") == cells("a|b") == ["a", "b"]
    assert cells("no row") == []
