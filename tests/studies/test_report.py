"""Tables and words of a report, from runs of which everything is known."""

import numpy as np
import polars as pl
import pytest
from finished import N_USERS, finished_run

from curriculum_rec.errors import OptionError
from curriculum_rec.studies.grid import Place
from curriculum_rec.studies.planned import results_of_study
from curriculum_rec.studies.report import Report, put_into, to_page, write_report
from curriculum_rec.studies.slices import SLICES, Slices
from curriculum_rec.studies.study import study_of
from curriculum_rec.studies.table import to_markdown
from curriculum_rec.studies.tables import all_tables

PLACE = Place("d", "clean")
STUDY = study_of(
    {
        "question": "Does it?",
        "data": {"d": {"published": {"better": {"ndcg@10": 0.25, "hr@10": 0.5}}}},
        "conditions": {"clean": [], "noisy": []},
        "arms": {"plain": [], "better": {"controls": ["random"]}, "same": {"control": "plain"}},
    },
    "study",
)


def make(root, *, n_seeds=8, better=0.3):
    qualities = {
        "clean": {"plain": 0.2, "better": better, "better-random": 0.2, "same": 0.2},
        "noisy": {"plain": 0.1, "better": 0.15},
    }
    for condition, arms in qualities.items():
        for arm, quality in arms.items():
            for seed in range(n_seeds):
                wobble = 0.002 * ((seed * 7 + len(arm)) % 5 - 2)
                folder = root / "d" / condition / arm / f"seed-{seed}"
                finished_run(folder, seed=seed, quality=quality + wobble, split_hash=f"{condition}{seed}")
    return Report.of(results_of_study(root, STUDY), {}, command="curriculum-rec study study=x")


def table(report, title, place=PLACE):
    found = next(table for table in report.tables[place] if table.title == title)
    return {row[0]: dict(zip(found.header, row, strict=True)) for row in found.rows()}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return make(tmp_path_factory.mktemp("study"))


def test_the_arms_table_has_means_over_seeds(report):
    rows = table(report, "Quality")
    assert list(rows) == ["MostPop", "plain", "better", "better-random", "same"]
    runs = report.results.cells[PLACE]["better"].values()
    assert rows["better"]["ndcg@10"] == f"{np.mean([run.summary['test']['ndcg@10'] for run in runs]):.4f}"
    assert rows["MostPop"]["ndcg@10"] == "0.0500"


def test_published_figures_stand_beside_the_means_over_seeds(report):
    found = next(table for table in report.tables[PLACE] if table.title == "Beside published figures")
    rows = [dict(zip(found.header, row, strict=True)) for row in found.rows()]
    here = float(table(report, "Quality")["better"]["ndcg@10"])
    assert [(row["arm"], row["metric"]) for row in rows] == [("better", "ndcg@10"), ("better", "hr@10")]
    assert rows[0]["published"] == "0.2500" and float(rows[0]["here"]) == here
    assert float(rows[0]["difference"].rstrip("%")) / 100 == pytest.approx(here / 0.25 - 1, abs=1e-3)


def test_what_is_better_for_every_seed_is_shown_to_help_and_what_is_not_is_not(report):
    rows = table(report, "Against each arm's own control")
    assert rows["better"]["over seeds"] == "helps"
    assert rows["same"]["over seeds"] == "not shown"
    assert float(rows["better"]["p over seeds"]) == pytest.approx(2 / 2**8, abs=6e-4)


def test_words_say_what_the_tables_say(report):
    text = " ".join(report.answer)
    assert "d, clean: plain has a test ndcg@10 of" in text
    assert "Against their controls, 1 of the 2 arms is shown to be better: better, +0.0" in text
    assert "Against plain, 1 of the 3 arms is shown to be better: better, +0.0" in text
    assert "With 8 paired seeds no p is below 0.0078" in text


def test_three_seeds_claim_nothing_and_the_words_say_why(tmp_path):
    report = make(tmp_path, n_seeds=3)
    assert {row["over seeds"] for row in table(report, "Against plain").values()} == {"not shown"}
    assert "these seeds can show no difference whatever its size" in report.answer[-1]
    assert "Fewer than 5 seeds are too few" in report.answer[-1]


def test_a_condition_costs_the_baseline_what_the_others_make_good(report):
    rows = table(report, "From clean to noisy", None)
    clean, noisy = (float(rows["plain"][name]) for name in ("clean", "noisy"))
    better = float(rows["better"]["noisy"])
    assert rows["plain"]["of the loss made good"] == ""
    stated = float(rows["better"]["of the loss made good"].strip("%+")) / 100
    assert stated == pytest.approx((better - noisy) / (clean - noisy), abs=0.005)


def test_costs_and_budgets_are_those_of_the_runs(report):
    cost = table(report, "Cost")["plain"]
    assert (cost["parameters"], cost["steps"], cost["blocks"]) == ("1,234", "20", "2")
    budgets = table(report, "At equal cost, and the way to quality")["plain"]
    assert (budgets["steps"], budgets["seconds"], budgets["reached"]) == ("20", "5.5", "8 of 8")


def test_files_are_whole_and_the_same_bytes_every_time(report, tmp_path):
    for name in ("a", "b"):
        write_report(tmp_path / name, report)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert {"report.md", "tables/d-clean-controls.csv", "tables/d-clean-controls.tex"} <= set(map(str, files))
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_report_goes_between_the_markers_of_a_file(report, tmp_path):
    path = tmp_path / "README.md"
    begin, end = "<!-- report begin -->", "<!-- report end -->"
    path.write_text(f"# Title\n{begin}\nold\n{end}\nrest\n")
    put_into(path, report)
    put_into(path, report)
    text = path.read_text()
    assert text == f"# Title\n{begin}\n{to_page(report, level=3)}{end}\nrest\n"
    path.write_text("no markers")
    with pytest.raises(OptionError, match="there must be a file with the lines"):
        put_into(path, report)


def test_one_table_of_it_goes_between_markers_of_its_name(report, tmp_path):
    def block(name, text):
        return f"<!-- table {name} begin -->\n{text}<!-- table {name} end -->\n"

    path, other = tmp_path / "README.md", block("else", "old\n")
    path.write_text(f"before\n{block('d-clean-quality', '')}between\n{other}after\n")
    put_into(path, report)
    put_into(path, report)
    table = next(table for tables in report.tables.values() for table in tables if table.name == "d-clean-quality")
    assert path.read_text() == f"before\n{block('d-clean-quality', to_markdown(table))}between\n{other}after\n"
    path.write_text(other)
    with pytest.raises(OptionError, match="none of this report's tables: .*d-clean-quality"):
        put_into(path, report)
    assert path.read_text() == other


def test_slices_are_thirds_of_users_and_of_events(tiny_split):
    users = tiny_split.interactions.users.ids
    split, items = tiny_split, tiny_split.interactions.items.ids
    results = pl.DataFrame({"user": users, "item": items[: len(users)].extend(items)[: len(users)]})
    slices = Slices.of([(split, results)])
    training = np.bincount(split.interactions.user[split.part == 0], minlength=len(users) + 1)[1:]
    (few, some), (rare, known) = slices.bounds
    np.testing.assert_array_equal(slices.activity, np.where(training <= few, 0, np.where(training <= some, 1, 2)))
    counts = np.bincount(split.interactions.item[split.part == 0], minlength=len(items) + 1)[1:]
    inside = [
        counts[(counts > low) & (counts <= high)].sum() for low, high in ((-1, rare), (rare, known), (known, 1e9))
    ]
    assert max(inside) - min(inside) <= 2 * counts.max()


def test_slices_of_an_arm_are_means_of_its_users(report):
    runs = report.results.cells[PLACE]["plain"]
    half = np.arange(N_USERS) % 2
    slices = Slices(runs[0].users["user"], half * 2, half, ((1, 2), (3, 4)))
    tables = all_tables(report.results, {PLACE: slices})[PLACE]
    rows = next(t for t in tables if t.title == "Who gains")
    assert rows.header == ["arm", *(name for name in SLICES if name not in ("some events", "popular items"))]
    values = np.mean([run.users["ndcg@10"].to_numpy() for run in runs.values()], axis=0)
    assert rows.rows()[0][1:] == [f"{values[half == k].mean():.4f}" for k in (0, 1, 0, 1)]
