"""The benchmark of budgets runs, and the page of its figures is what it would write of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.budgets import command, figures, growth, holding, living, page, places, stranding
from benchmarks.budgets.chart import Axis, Line, draw, linear_axis, log_axis

_SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.slow
def test_a_quick_run_measures_every_place_and_writes_all_there_is(tmp_path: Path) -> None:
    found = command.run(is_quick=True, to=tmp_path)
    loops = {(one.place, one.touched) for one in found.holding if not one.threads}
    threads = {(one.place, one.threads) for one in found.holding if one.threads}
    assert loops == {(name, touched) for name in places.NAMES for touched in holding.TOUCHED}
    assert threads == {
        (name, number) for name in (*places.NAMES, holding.CONTROL) for number in holding.THREADS
    }
    assert all(0 < one.hold.p50 <= one.hold.p99 for one in found.holding)
    assert {one.name for one in found.stranding} >= {name for name, _ in stranding.variants()}
    assert figures.load(tmp_path / "figures.json") == found
    for name, text in page.files(found).items():
        assert (tmp_path / name).read_text() == text


def test_the_page_is_written_from_the_figures_that_are_kept() -> None:
    kept = figures.load()
    assert not kept.is_quick
    for name, text in page.files(kept).items():
        assert (page.FOLDER / name).read_text() == text, f"{name}: run page.write(figures.load())"


def test_growth_with_budgets_and_accounts_was_measured_to_be_flat() -> None:
    found = figures.load().growth
    assert max(max(one.sizes) for one in found if one.what.startswith("budgets")) == 100_000
    assert max(max(one.sizes) for one in found if one.what.startswith("accounts")) == 1_000_000
    grown = {(one.what, one.place): one.ratio for one in found}
    assert {key: ratio for key, ratio in grown.items() if ratio > growth.MOST_GROWTH} == {}


def test_leases_were_measured_to_keep_no_more_than_the_goal_and_to_ask_seldom() -> None:
    found = [one for one in figures.load().stranding if one.kind == "maximum given"]
    found = [one for one in found if one.limit == stranding.LIMIT_IN_BOUNDS]
    (usual,) = [one for one in found if (one.name, one.rate) == (stranding.DEFAULTS, 2.0)]
    (single,) = [one for one in found if one.name == "each call by itself"]
    assert usual.leased + usual.held <= 0.03
    assert usual.asked < single.asked / 5
    assert usual.leased - single.leased < 0.002


def test_real_processes_keep_what_simulated_ones_do() -> None:
    simulated, *real = figures.load().living
    assert [one.name for one in real] == list(living.PLACES)
    for one in real:
        assert one.leased < simulated.leased + 0.01
        assert one.asked < 2 * simulated.asked


@pytest.mark.parametrize(
    ("axis", "value", "place"),
    [
        pytest.param(log_axis("x", [3, 700]), 1, 0, id="a power of ten begins"),
        pytest.param(log_axis("x", [3, 700]), 31.622776601683793, 0.5, id="ratios are steps"),
        pytest.param(linear_axis("x", [7]), 4, 0.5, id="round steps: to 8"),
        pytest.param(linear_axis("x", [0]), 1, 1, id="nothing but zero"),
    ],
)
def test_an_axis_places_a_value(axis: Axis, value: float, place: float) -> None:
    assert axis.place(value) == pytest.approx(place)


def test_a_chart_draws_each_point_of_each_line_inside_its_frame() -> None:
    lines = [
        Line(name="a & b", points=[(1, 0), (10, 5), (100, 8)]),
        Line(name="c", points=[(1, 8)], is_dashed=True),
    ]
    drawn = ET.fromstring(draw("T", log_axis("x", [1, 100]), linear_axis("y", [8]), lines))
    circles = [
        (float(one.attrib["cx"]), float(one.attrib["cy"])) for one in drawn.iter(f"{_SVG}circle")
    ]
    assert len(circles) == 4
    assert circles[0][0] < circles[1][0] < circles[2][0]
    assert circles[0][1] > circles[1][1] > circles[2][1] == circles[3][1]
    assert "a & b" in [one.text for one in drawn.iter(f"{_SVG}text")]
