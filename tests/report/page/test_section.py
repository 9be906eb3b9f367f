"""Tables of a page: turned round, folded and cut where there is no room for them."""

from clifctl.report.elements import as_html
from clifctl.report.page.grids import sweep_sections
from clifctl.report.page.section import table
from clifctl.report.render import Column, Table
from clifctl.results.statistics import Estimate
from clifctl.results.summary import Summary
from clifctl.results.sweep import SweepResult, SweptPoint

WIDE = tuple(Column(f"c{n}", f"column {n}") for n in range(8))


def test_a_wide_table_is_turned_round_and_a_long_one_folded_and_cut() -> None:
    row = {f"c{n}": n for n in range(8)}
    turned = as_html(table(Table("t", WIDE, (row, row))))
    assert turned.startswith('<div class="table"><p><b>t</b></p><div class="scroll" tabindex="0">')
    assert turned.count("<tr>") == 8
    long = as_html(table(Table("t", WIDE[:2], (row,) * 501, notes=("more",))))
    assert long.startswith("<details><summary>t</summary>")
    assert long.count("<tr>") == 501  # with the head
    assert "The first 500 of 501 rows" in long
    assert long.endswith("<small>more</small></p></details>")
    assert as_html(table(Table("t", WIDE[:2], (row,) * 20), fold=False)).startswith("<div")


def test_a_sweep_of_many_points_is_drawn_as_far_as_there_is_room() -> None:
    accuracy = Estimate(mean=50.0, standard_error=1.0, n=2, values=(49.0, 51.0))
    nothing = dict.fromkeys(
        (
            *("accuracy_percent_best", "train_loss_train_mode", "train_loss_eval_mode"),
            *("test_loss", "firing_rate", "step_ms", "parameters", "kept_for_backward_bytes"),
            *("peak_memory_bytes", "beside_most"),
        )
    )
    summary = Summary(seeds=(0, 1), accuracy_percent_last=accuracy, **nothing)
    rows = tuple(
        SweptPoint(
            title=f"tau = {n}",
            values={"neuron.tau": n},
            is_baseline=n == 0,
            summary=summary,
            differences=None,
        )
        for n in range(41)
    )
    result = SweepResult(
        **dict.fromkeys(("sample_seed", "against", "best")),
        **dict.fromkeys(("recipe", "baseline", "correction", "results_folder"), "x"),
        **dict.fromkeys(("pareto", "conclusions", "notes", "trials", "quantities"), ()),
        keys=("neuron.tau",),
        zipped=False,
        points_of_product=41,
        seeds_asked=2,
        epochs=1,
        quantity="accuracy_percent_last",
        rows=rows,
    )
    (section,) = sweep_sections(result)
    page = "".join(map(as_html, section.parts))
    assert "The first 40 of 41." in page
    assert page.count('class="hollow"') == 80
    assert "tau = 39, a seed: 51" in page
