"""The figure of what tuning has come to: what is drawn is what was found."""

from __future__ import annotations

import numpy as np

from diffusers_deis_sn.plots.style import png
from diffusers_deis_sn.plots.tuning import AFTER, BEFORE, RIVAL, tuning_figure
from diffusers_deis_sn.tuning.outcome import Tuning
from records import tiny_record
from tunings import DEFAULT, PLAN, RIVALS, failed, found, planned


def line(axes, label: str) -> np.ndarray:
    return next(one.get_xydata() for one in axes.get_lines() if one.get_label() == label)


def test_errors_before_and_after_stand_beside_the_best_rival():
    errors, _ = tuning_figure(Tuning(tiny_record(), (failed(8), found(5)))).axes
    np.testing.assert_array_equal(line(errors, RIVAL), [[5, RIVALS["UniPC"].geometric], [8, RIVALS["UniPC"].geometric]])
    np.testing.assert_array_equal(line(errors, BEFORE), [[5, DEFAULT.geometric], [8, DEFAULT.geometric]])
    np.testing.assert_array_equal(line(errors, AFTER), [[5, PLAN.geometric], [8, DEFAULT.geometric]])  # as runs are now
    (hollow,) = (one for one in errors.get_lines() if one.get_markerfacecolor() == "white")
    np.testing.assert_array_equal(hollow.get_xydata(), [[8, DEFAULT.geometric]])
    thin = [one for one in errors.get_lines() if one.get_linewidth() < 1.0]
    assert len(thin) == len(RIVALS)


def test_times_are_those_of_the_plans():
    _, times = tuning_figure(Tuning(tiny_record(), (found(5), failed(8)))).axes
    (drawn,) = times.get_lines()
    np.testing.assert_array_equal(drawn.get_xdata(), planned(5).run.times)
    assert [one.get_text() for one in times.get_yticklabels()] == ["5 calls", "8 calls"]


def test_each_guidance_has_a_row_and_the_title_says_what_it_is_of():
    figure = tuning_figure(Tuning(tiny_record(), (found(5, 7.5), found(5, 3.0), failed(8, 7.5))))
    assert len(figure.axes) == 4
    assert [one.get_title(loc="left") for one in figure.axes[::2]] == ["guidance 3", "guidance 7.5"]
    assert "2 of 3 plans accepted" in figure.get_suptitle()


def test_without_rivals_and_plans_there_is_a_picture_all_the_same():
    bare = Tuning(tiny_record(), (failed(5, rivals={}),))
    labels = [one.get_label() for one in tuning_figure(bare).axes[0].get_lines()]
    assert RIVAL not in labels and png(tuning_figure(bare)).startswith(b"\x89PNG")
