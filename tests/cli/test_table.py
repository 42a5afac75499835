"""Tables are whole in a pipe and fit a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from vibeweaver_store.cli.table import Column, lay_out

ID = "01a1fa79-0833-70cc-9526-9079566848fe"
COLUMNS = (
    Column("NAME", narrow="fold"),
    Column("COUNT", right=True),
    Column("NOTE", narrow="cut"),
    Column("ID", narrow="below"),
)


def laid_out(rows: list[tuple[str, ...]], width: int | None) -> list[str]:
    return [line.plain for line in lay_out(Console(), COLUMNS, rows, width)]


def test_a_table_that_fits_is_printed_under_its_titles() -> None:
    assert laid_out([("late set", "7", "x", "a"), ("b", "12", "yy", "b")], 40) == [
        "NAME      COUNT  NOTE  ID",
        "late set      7  x     a",
        "b            12  yy    b",
    ]


def test_a_table_puts_an_id_beneath_its_row_if_there_is_no_room() -> None:
    assert laid_out([("late set", "7", "x", ID)], 40) == [
        "NAME      COUNT  NOTE",
        "late set      7  x",
        f"  {ID}",
    ]


def laid_out_beneath(row: tuple[str, ...], width: int) -> list[str]:
    columns = (Column("NAME"), *[Column(title, narrow="below") for title in ("AT", "PATH", "ID")])
    return [line.plain for line in lay_out(Console(), columns, [row], width)][1:]


def test_cells_beneath_a_table_row_share_lines_if_they_fit() -> None:
    assert laid_out_beneath(("late set", "18:00Z", "/srv", ID), 40) == ["late set", "  18:00Z  /srv", f"  {ID}"]
    assert laid_out_beneath(("late set", "18:00Z", "/srv", ID), 52) == ["late set", f"  18:00Z  /srv  {ID}"]


def test_an_empty_cell_takes_no_line_beneath_its_table_row() -> None:
    assert laid_out_beneath(("late set", "", "", ID), 40) == ["late set", f"  {ID}"]
    assert laid_out_beneath((ID, "", "", ""), 37) == [ID]


def test_a_table_folds_or_cuts_cells_as_their_columns_allow() -> None:
    assert laid_out([("a name of some length", "7", "a note of some length", ID)], 30) == [
        "NAME        COUNT  NOTE",
        "a name of       7  a note of …",
        "some",
        "length",
        f"  {ID}",
    ]


def test_a_table_in_a_pipe_folds_and_cuts_no_cell() -> None:
    assert laid_out([("name " * 50, "7", "note " * 50, ID)], None)[1].endswith(ID)


def test_wide_characters_take_two_columns_of_a_table() -> None:
    assert laid_out([("拍子", "7", "", ""), ("ab", "7", "", "")], None)[1:] == ["拍子      7", "ab        7"]


@pytest.mark.parametrize("written", ["two\nlines", "\x1b[2Jgone", "\u202egnorw", "\x9b1m"])
def test_a_table_cell_cannot_move_the_cursor(written: str) -> None:
    line = laid_out([(written, "7", "", "")], None)[1]

    assert line.isprintable()
    assert "\\" in line


def test_a_table_that_cannot_fit_keeps_the_width_its_columns_need() -> None:
    assert laid_out([("n", "7" * 40, "x", "i")], 20)[1] == f"n     {'7' * 40}  x"


@given(
    rows=st.lists(st.tuples(*[st.text("ab ü拍", max_size=30)] * 4), min_size=1, max_size=4),
    width=st.integers(30, 100),
)
def test_a_table_line_without_an_id_is_never_wider_than_the_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    columns = [*COLUMNS[:1], Column("COUNT", narrow="cut"), *COLUMNS[2:]]

    for line in lay_out(Console(), columns, rows, width):
        assert line.cell_len <= max(width, 62)
