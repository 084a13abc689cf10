"""The figures: only those with data, inside their canvas, without labels over another, the same bytes again."""

import struct
from dataclasses import replace
from functools import partial
from itertools import combinations
from unittest import mock

import pytest

from hf_finemix.laboratory import figures as drawn
from hf_finemix.laboratory.drawing import COLORS, MARKERS, WIDTH, Look
from hf_finemix.laboratory.e_pur import rank_rows
from hf_finemix.laboratory.effects import ratio_effects, size_effects
from hf_finemix.laboratory.figures import draw, looks
from hf_finemix.laboratory.lettering import extent, spread, wrapped
from hf_finemix.laboratory.matched import points
from hf_finemix.laboratory.results import Results
from hf_finemix.laboratory.summary import main_cells, overview

from .records import candidate, cell, grid, results, suspect


LONG = "a label that is far too long for any panel, and_has_a_word_that_no_line_can_hold_" + "x" * 40


def drawings(found):
    return draw(
        overview(found), points(main_cells(found)), size_effects(found), ratio_effects(found), rank_rows(found)
    )


@pytest.fixture
def sheets(monkeypatch):
    """The sheets behind the figures that are drawn, by the start of their titles."""
    kept = {}

    def keep(make, title, *data):
        kept[title] = make(title, *data)
        return kept[title]

    for name in ("asr_sheet", "frontier_sheet", "effect_sheet", "rank_sheet"):
        monkeypatch.setattr(drawn, name, partial(keep, getattr(drawn, name)))
    return kept


def renamed(found):
    """The same results with long labels, and one of a formula."""
    names = {"Fine-mixing": LONG, "fine-tuning": "$\\alpha$ & $x_1$", "fine-purifying": LONG + " again"}
    cells = tuple(replace(c, defense=names.get(c.defense, c.defense)) for c in found.cells)
    return Results(found.config, found.suspects, cells)


def texts(sheet):
    """The texts that are drawn, with the space they take, in pixels."""
    from matplotlib.text import Text

    found, draw_text = [], Text.draw

    def record(text, renderer, *rest):
        # Ticks beyond the limits of an axis exist, but are not drawn.
        found.append(text)
        draw_text(text, renderer, *rest)

    with mock.patch.object(Text, "draw", record):
        sheet.figure.canvas.draw()
    renderer = sheet.figure.canvas.get_renderer()
    shown = [text for text in found if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in shown]


def labels(sheet):
    """The labels beside the panels, with the space they take."""
    own = {text.get_text() for text in sheet.figure.texts}
    return [(text, box) for text, box in texts(sheet) if text in own]


def test_every_figure_is_a_png_of_1200_pixels():
    found = drawings(grid())
    assert [drawing.names[0] for drawing in found] == ["asr", "frontier", "clean_examples", "keep_ratio", "ranks"]
    assert {drawing.section for drawing in found} == {"defences", "frontier", "clean_examples", "keep_ratio", "ranks"}
    for drawing in found:
        assert drawing.png.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", drawing.png[16:24])
        assert width == WIDTH and 200 < height < 2000


def test_same_results_same_bytes_whatever_the_users_style():
    import matplotlib

    first = drawings(grid(attacks=("word",)))
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "figure.dpi": 50}):
        assert drawings(grid(attacks=("word",))) == first
    assert b"Software" not in first[0].png and b"Date" not in first[0].png


@pytest.mark.parametrize(
    "found", [grid(seeds=2), renamed(grid((LONG,), ("word", LONG, "x", "embedding_poisoning")))], ids=["usual", "long"]
)
def test_no_text_is_cut_or_over_another(sheets, found):
    drawings(found)
    assert len(sheets) == 5
    for title, sheet in sheets.items():
        width, height = sheet.figure.get_size_inches() * sheet.figure.dpi
        shown = texts(sheet)
        for text, box in shown:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, (title, text)
        for (one, box), (other, box_of_other) in combinations(shown, 2):
            across = min(box.x1, box_of_other.x1) - max(box.x0, box_of_other.x0)
            down = min(box.y1, box_of_other.y1) - max(box.y0, box_of_other.y0)
            assert across <= 1 or down <= 1, (title, one, other)


def test_letters_are_at_least_of_nine_points(sheets):
    from matplotlib.text import Text

    drawings(grid(attacks=("word",)))
    for sheet in sheets.values():
        assert min(text.get_fontsize() for text in sheet.figure.findobj(Text)) >= 9


def test_frontier_names_every_line_in_each_panel(sheets):
    drawings(grid(attacks=("word",)))
    (sheet,) = (sheet for title, sheet in sheets.items() if title.startswith("Accuracy"))
    shown = [text.replace("\n", " ") for text, _ in labels(sheet)]
    # With E-PUR and without it; no defence without E-PUR is the suspect.
    counts = {name: shown.count(name) for name in ("Fine-mixing", "fine-tuning", "suspect", "clean model", "none")}
    assert counts == {"Fine-mixing": 2, "fine-tuning": 2, "suspect": 2, "clean model": 2, "none": 1}


def test_long_labels_are_whole(sheets):
    drawings(renamed(grid(attacks=("word",))))
    for title, sheet in sheets.items():
        if not title.startswith("Rank"):
            shown = [text.replace("\n", "").replace(" ", "") for text, _ in texts(sheet)]
            assert LONG.replace(" ", "") in shown, title


def test_points_are_where_they_were_measured(sheets):
    found = results(
        suspect(), cell("fine_mixing", candidate(80, 20, keep_ratio=0.1), candidate(86, 60, keep_ratio=0.3))
    )
    drawings(found)
    (sheet,) = (sheet for title, sheet in sheets.items() if title.startswith("Accuracy"))
    (axes,) = sheet.figure.axes
    lines = [[tuple(point) for point in line.get_xydata()] for line in axes.lines]
    assert lines == [[(80, 20), (86, 60)], [(80, 20)], [(91, 10)], [(90, 100)]]
    assert axes.get_ylim() == (-4, 104)


def test_lines_to_labels_start_where_the_curves_end(sheets):
    from matplotlib.lines import Line2D

    cells = [cell("wag", candidate(80, 60), clean_examples=size) for size in (16, 64)]
    drawings(results(*cells, cell("wag", candidate(80, 60), clean_examples=256)))
    (sheet,) = (sheet for title, sheet in sheets.items() if title.startswith("ACC and ASR"))
    leaders = [artist for artist in sheet.figure.artists if isinstance(artist, Line2D)]
    for axes, leader in zip(sheet.figure.axes, leaders, strict=True):
        end = axes.transData.transform(axes.lines[0].get_xydata()[-1])
        start = sheet.figure.transFigure.transform([leader.get_xdata()[0], leader.get_ydata()[0]])
        assert start == pytest.approx(end + [5, 0], abs=0.01)


def test_dots_show_intervals_and_the_clean_model(sheets):
    drawings(results(suspect(), cell("wag", candidate(80, 50)), cell("wag", candidate(80, 20), e_pur=True)))
    (sheet,) = (sheet for title, sheet in sheets.items() if title.startswith("ASR"))
    across = [[float(x) for x in line.get_xdata()] for line in sheet.figure.axes[0].lines]
    assert across == [
        [10, 10],
        [100, 100],
        pytest.approx([40.4, 59.6], abs=0.05),
        [50],
        pytest.approx([13.3, 28.9], abs=0.05),
        [20],
    ]


def test_without_data_there_is_no_figure():
    assert drawings(results()) == ()
    assert drawings(results(suspect(90, None), cell("wag", candidate(80, None)))) == ()
    assert drawings(results(suspect())) == ()
    sizes = [cell("wag", candidate(80, None), clean_examples=size) for size in (16, 64)]
    assert drawings(results(*sizes)) == ()
    names = [drawing.names for drawing in drawings(results(cell("wag", candidate(80, 60))))]
    assert names == [("asr", "sst2", "tiny"), ("frontier", "sst2", "tiny")]


def test_a_defence_looks_the_same_in_every_figure_and_no_two_are_alike():
    look = looks(overview(grid()))
    assert look == looks(overview(grid(("qnli",), ("word",))))
    assert len(set(look.values())) == len(look) == 8
    assert len({item.color for item in look.values()}) == len(COLORS) and len(MARKERS) > 8
    assert len({Look.of(number) for number in range(88)}) == 88


@pytest.mark.parametrize(
    ("wanted", "middles"),
    [
        ([50, 150], [50, 150]),
        ([100, 100], [90, 110]),
        ([100, 105, 150], [92.5, 112.5, 150]),
        ([0, 0, 0], [10, 30, 50]),
        ([200, 200], [170, 190]),
        # Two piles that meet become one, in the middle of what its members want.
        ([100, 100, 125, 125], [82.5, 102.5, 122.5, 142.5]),
        ([], []),
    ],
)
def test_labels_are_spread_as_little_as_need_be(wanted, middles):
    assert spread(wanted, [20] * len(wanted), 0, 200) == pytest.approx(middles)


def test_lines_break_between_words_and_within_long_ones():
    assert wrapped("one two", 1000) == "one two"
    lines = wrapped(f"one  two\n{'x' * 60} three", 150).split("\n")
    assert lines[0] == "one two" and "".join(lines[1:]).startswith("x" * 60)
    assert all(extent(line)[0] <= 150 for line in lines) and len(lines) > 3
    assert extent("$x$")[0] > extent("x")[0], "a dollar sign is no formula"
