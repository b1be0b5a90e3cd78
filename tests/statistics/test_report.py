"""Score statistics as text: what is told, and what is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffusers_deis_sn.statistics.report import ROWS, report
from records import costed_record, gaussian_record, tiny_record


def test_text_shows_origin_and_both_ends():
    text = gaussian_record().inspect()
    for fragment in (
        "gaussian",
        "fingerprint",
        "epsilon",
        "50 times",
        "64 samples",
        "licence",
        "unknown",
        " 4 ",
        " 999 ",
    ):
        assert fragment in text
    assert "4 x 8 x 8" in tiny_record().inspect()
    assert "array" not in repr(tiny_record())


def test_text_leaves_out_what_is_not_known():
    record = gaussian_record()
    head, table = record.inspect().split("\n\n")
    assert table.split("\n")[0].count("std. err.") == 3
    assert "source" not in head
    unknown = ("mean_abs_error", "mean_square", "mean_square_error", "mean_abs_data", "mean_abs_data_error")
    bare = replace(record, **dict.fromkeys((*unknown, "num_samples")))
    head, table = bare.with_origin(source="somewhere").inspect().split("\n\n")
    assert head.startswith("Score statistics at 50 times, from an unknown number of samples\n")
    assert head.endswith("source               somewhere")
    assert table.split()[:7] == ["t", "log", "SNR", "r", "=", "E|eps|", "4"]
    assert all(len(row.split()) == 3 for row in table.splitlines()[1:])
    assert float(table.splitlines()[-1].split()[2]) == pytest.approx(record.mean_abs[-1], abs=1e-5)


def test_text_tells_the_costs_that_are_there():
    record = costed_record(times=40, num_samples=32)
    head, table = record.inspect().split("\n\n")
    lines = {" ".join(line.split()[:2]): " ".join(line.split()[2:]) for line in head.splitlines()}
    for name, error in (("corrector", "0.5%"), ("predictor", "2.4%")):
        cost = record.cost(name)
        length = np.sum(cost.values ** (1.0 / cost.order))
        expected = f"path length {length:.4g} ± {error}, order {cost.order}, from 32 samples"
        assert lines[f"{name} cost"] == expected
    rows = [line.split() for line in table.splitlines()]
    error = ["std.", "err."]
    assert rows[0][-8:] == ["L", "corrector", *error, "L", "predictor", *error]
    for row in rows[1:-1]:  # the interval that ends at this time
        k = int(np.argmin(np.abs(record.timesteps - float(row[0]))))
        entered = [number for cost in record.costs.values() for number in (cost.values[k], cost.error[k])]
        assert [float(one) for one in row[-4:]] == pytest.approx(entered, rel=6e-2)
        assert [float(one) for one in row[-4::2]] == pytest.approx(entered[::2], rel=6e-3)
    assert rows[-1][-4:] == ["-"] * 4


def test_text_of_the_rest_is_the_same_with_costs_and_without():
    bare, costed = gaussian_record().inspect(), costed_record().inspect()
    assert "cost" not in bare and "L " not in bare.split("\n\n")[1]
    kept = [line for line in costed.splitlines() if " cost " not in line]
    assert [line[: len(other)] for line, other in zip(kept, bare.splitlines(), strict=True)] == bare.splitlines()


def test_text_of_a_path_without_length_claims_no_error_of_it():
    nothing = costed_record().cost("corrector")
    record = gaussian_record().with_costs(corrector=replace(nothing, values=0.0 * nothing.values))
    assert "path length 0, order 2" in record.inspect()


@pytest.mark.parametrize("times", [2, 5, 300])
def test_rows_are_of_both_ends_and_no_time_is_told_twice(times):
    record = gaussian_record(times=times)
    told = [float(line.split()[0]) for line in report(record).split("\n\n")[1].splitlines()[1:]]
    assert told == sorted(set(told)) and 2 <= len(told) <= min(times, ROWS)
    assert (told[0], told[-1]) == pytest.approx((record.timesteps[0], record.timesteps[-1]), rel=1e-5)


def test_counts_that_differ_are_told_as_from_fewest_to_most():
    assert report(tiny_record()).startswith("Score statistics at 2 times, from 4 to 6 samples\n")
