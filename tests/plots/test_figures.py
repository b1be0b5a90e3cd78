"""The figure of the normaliser: what is drawn is what was measured, and nothing global changes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import matplotlib.colors
import numpy as np
import pytest

from diffusers_deis_sn.plots.figures import HEALTHY, PLATEAU, normaliser_figure
from diffusers_deis_sn.plots.schedule import schedule_figure
from diffusers_deis_sn.plots.style import DARK, LIGHT
from records import costed_record, gaussian_record


def line(axes, label: str):
    return next(one for one in axes.get_lines() if one.get_label() == label)


def test_both_panels_show_the_measured_curve_and_the_plateau():
    statistics = gaussian_record()
    by_time, by_noise = normaliser_figure(statistics).axes
    for axes, x in ((by_time, statistics.timesteps), (by_noise, statistics.log_snr)):
        np.testing.assert_array_equal(line(axes, "measured").get_xydata(), np.stack([x, statistics.mean_abs], 1))
        assert np.allclose(line(axes, "pure noise, √(2/π)").get_ydata(), PLATEAU)
        assert axes.get_ylim()[0] < statistics.mean_abs.min()
        assert axes.get_ylim()[1] > PLATEAU
    assert by_noise.xaxis_inverted()  # clean data at the left in both


def test_the_band_is_two_standard_errors_either_side():
    statistics = gaussian_record(times=10)
    band = normaliser_figure(statistics).axes[0].collections[0].get_paths()[0].vertices
    for t, r, error in zip(statistics.timesteps, statistics.mean_abs, statistics.mean_abs_error, strict=True):
        edges = band[np.isclose(band[:, 0], t), 1]
        assert edges.min() == pytest.approx(r - 2.0 * error)
        assert edges.max() == pytest.approx(r + 2.0 * error)


def test_the_title_names_model_samples_and_guidance():
    statistics = gaussian_record().with_origin(base_model="tiny", guidance_scale=3.0)
    assert normaliser_figure(statistics).get_suptitle() == "tiny, 64 samples, guidance 3"
    bare = replace(statistics, num_samples=None).with_origin(guidance_scale=None)
    assert normaliser_figure(bare).get_suptitle() == "tiny"


def test_unknown_errors_have_no_band():
    statistics = replace(gaussian_record(), mean_abs_error=None)
    for axes in normaliser_figure(statistics).axes:
        assert list(axes.collections) == []
        assert axes.get_ylim()[0] < statistics.mean_abs.min()
        assert axes.get_ylim()[1] > PLATEAU
    legend = normaliser_figure(statistics).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["pure noise, √(2/π)", "measured"]


def test_a_long_title_stays_above_both_panels():
    figure = normaliser_figure(gaussian_record().with_origin(base_model="somebody/" + "quite-a-long-name " * 12))
    figure.draw_without_rendering()
    title, _ = figure._suptitle.get_window_extent(), figure.draw_without_rendering()
    assert title.x1 <= figure.bbox.x1
    for axes in figure.axes:
        assert title.y0 > axes.title.get_window_extent().y1


@pytest.mark.parametrize("draw", [normaliser_figure, schedule_figure])
def test_figures_for_dark_pages_have_no_colour_of_light_ones_and_the_same_numbers(draw):
    light, dark = (draw(costed_record(), palette=palette) for palette in (LIGHT, DARK))
    for ours, theirs in zip(light.axes, dark.axes, strict=True):
        assert matplotlib.colors.to_hex(theirs.get_facecolor()) == DARK.paper
        for one, other in zip(ours.get_lines(), theirs.get_lines(), strict=True):
            np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())
            assert matplotlib.colors.to_hex(other.get_color()) in vars(DARK).values()


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_figure_can_be_written(tmp_path, suffix):
    normaliser_figure(gaussian_record()).savefig(tmp_path / f"r.{suffix}")
    assert (tmp_path / f"r.{suffix}").stat().st_size > 5000


def test_the_settings_of_the_caller_are_untouched():
    before = dict(matplotlib.rcParams)
    normaliser_figure(gaussian_record())
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_not_imported():
    code = (
        "import sys; from records import gaussian_record; from diffusers_deis_sn.plots import figures;"
        "assert 'matplotlib' not in sys.modules; figures.normaliser_figure(gaussian_record());"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)}, timeout=600)


def test_without_matplotlib_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"diffusers-deis-sn\[plot\]"):
        normaliser_figure(gaussian_record())


def test_the_figure_says_what_a_healthy_curve_looks_like():
    figure = normaliser_figure(gaussian_record())
    assert HEALTHY in [text.get_text() for text in figure.texts] or figure.get_supxlabel() == HEALTHY
