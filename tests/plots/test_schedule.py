"""The figure of a learned schedule: what is drawn is what was measured, what it adds up to, and what is chosen."""

from __future__ import annotations

import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from diffusers import FlowMatchEulerDiscreteScheduler

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import MissingCostError, ScheduleError, TimestepsError
from diffusers_deis_sn.learn.export import learned_levels
from diffusers_deis_sn.learn.grid import PATH_TOP
from diffusers_deis_sn.learn.path import SchedulePath
from diffusers_deis_sn.plots.schedule import STRETCHES, named_levels, schedule_figure
from oracles import spaced_levels
from records import costed_record, edm_record, flow_record, gaussian_record, solver_cost
from refusals import refused

RECORDS = {
    "table": costed_record(times=30),
    "fine table": costed_record(times=500),
    "edm": edm_record(),
    "flow": flow_record(),
}


def line(axes, label: str):
    return next(one for one in axes.get_lines() if one.get_label().startswith(label))


def rows(axes) -> dict[str, np.ndarray]:
    """Levels of each row, by the label at its left."""
    names = [text.get_text() for text in axes.get_yticklabels()]
    drawn = {int(one.get_ydata()[0]): np.asarray(one.get_xdata()) for one in axes.get_lines()}
    return {names[place]: levels for place, levels in drawn.items()}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
@pytest.mark.parametrize("name", ["corrector", "predictor"])
def test_the_area_below_a_local_cost_is_the_whole_path(record, name):
    local = schedule_figure(record).axes[0]
    sigma, speed = line(local, name).get_xydata().T
    assert len(sigma) <= STRETCHES + 1 and np.all(np.diff(sigma) > 0.0)
    u, known = np.log(sigma), -0.5 * record.log_snr
    edges = np.empty(len(u) + 1)  # each point is the middle of its stretch
    edges[0] = known[0]
    for k, middle in enumerate(u):
        edges[k + 1] = 2.0 * middle - edges[k]
    assert edges[-1] == pytest.approx(known[-1], rel=1e-9)
    assert np.sum(speed * np.diff(edges)) == pytest.approx(1.0, rel=1e-6)


def test_a_coarse_measurement_is_drawn_interval_by_interval():
    record = costed_record(times=30)  # wider apart than a stretch at the clean end
    for name, cost in record.costs.items():
        sigma, speed = line(schedule_figure(record).axes[0], name).get_xydata().T
        widths = -0.5 * np.diff(record.log_snr)
        density = cost.values ** (1.0 / cost.order) / -widths
        length = np.sum(cost.values ** (1.0 / cost.order))
        assert speed[0] == pytest.approx(abs(density[0]) / length)
        assert sigma[0] == pytest.approx(np.exp(-0.25 * (record.log_snr[0] + record.log_snr[1])))


def test_the_band_is_two_standard_errors_of_the_cost_either_side():
    record = edm_record(times=20)
    cost = record.cost("predictor")  # its errors are a tenth of it everywhere
    record = record.with_costs(predictor=replace(cost, error=0.6 * cost.values))
    local = schedule_figure(record, cost="predictor").axes[0]
    sigma, speed = line(local, "predictor").get_xydata().T
    band = local.collections[0].get_paths()[0].vertices
    for x, y in zip(sigma, speed, strict=True):
        edges = band[np.isclose(band[:, 0], x, rtol=1e-12), 1]
        assert edges.max() == pytest.approx(y * 2.2**0.25)
        assert edges.min() == 0.0  # a cost cannot be negative


@pytest.mark.parametrize("cost", ["corrector", "predictor"])
def test_the_length_rises_from_nothing_to_all_and_calls_are_equal_steps_of_it(cost):
    record = costed_record(times=200)
    length = schedule_figure(record, 9, cost).axes[1]
    for name in record.costs:
        sigma, share = line(length, name).get_xydata().T
        path = SchedulePath.of(record, name)
        assert sigma == pytest.approx(path.levels)
        assert share == pytest.approx(path.cumulative / path.path_length)
        assert (share[0], share[-1]) == (0.0, 1.0)
        assert line(length, name).get_label() == f"{name}, length {path.path_length:.3g}"
    sigma, share = line(length, "calls").get_xydata().T
    assert sigma == pytest.approx(learned_levels(record, 9, cost)[:-1])
    assert share == pytest.approx(np.arange(9, 0, -1) / 9, abs=1e-9)
    assert line(length, "calls").get_color() == line(length, cost).get_color()


@pytest.mark.parametrize("steps", [1, 2, 10, 40])
@pytest.mark.parametrize("cost", ["corrector", "predictor"])
def test_rows_are_the_chosen_levels_and_three_named_grids(steps, cost):
    record = costed_record(times=996)
    drawn = rows(schedule_figure(record, steps, cost).axes[2])
    other = {"corrector": "predictor", "predictor": "corrector"}[cost]
    named = ["Karras, ρ = 7", "log-linear", "linear in t"]
    assert list(drawn) == [f"equal {cost} cost", f"equal {other} cost", *named]
    for name in (cost, other):
        assert drawn[f"equal {name} cost"] == pytest.approx(learned_levels(record, steps, name)[:-1])
    top, bottom = np.exp(-0.5 * record.log_snr[[-1, 0]])
    for levels in drawn.values():
        assert len(levels) == steps and levels[0] == pytest.approx(top)
    times = vp_schedule().time(drawn["linear in t"])
    assert [*np.diff(times), 4.0 - times[-1]] == pytest.approx([-995.0 / steps] * steps, rel=0.01)
    if steps > 1:
        roots = drawn["Karras, ρ = 7"] ** (1 / 7)
        assert np.diff(roots) == pytest.approx((bottom ** (1 / 7) - top ** (1 / 7)) / (steps - 1))
        assert np.diff(np.log(drawn["log-linear"])) == pytest.approx(np.log(bottom / top) / (steps - 1))


def test_named_grids_are_those_of_the_schedulers():
    noise = vp_schedule(**SD_BETAS)
    record = gaussian_record(noise, times=1000)
    whole = replace(record, timesteps=np.arange(1000.0), log_snr=-2.0 * noise.log_rho)
    grids = named_levels(whole, 12)
    for title, spacing in (("Karras, ρ = 7", "karras"), ("log-linear", "exponential")):
        assert grids[title] == pytest.approx(spaced_levels(noise, 12, spacing, "zero")[:-1], rel=1e-9)
    edm = edm_record()
    assert list(named_levels(edm, 12))[-1] == "linear in σ"
    assert np.diff(named_levels(edm, 12)["linear in σ"]) == pytest.approx((0.002 - 80.0) / 12)


def test_one_cost_alone_is_drawn_alone():
    both = costed_record()
    record = gaussian_record().with_costs(predictor=both.cost("predictor"))
    local, length, levels = schedule_figure(record, cost="predictor").axes
    for axes in (local, length):
        assert not [one for one in axes.get_lines() if one.get_label().startswith("corrector")]
    assert list(rows(levels))[:2] == ["equal predictor cost", "Karras, ρ = 7"]


def test_another_velocity_is_drawn_and_named():
    record = costed_record(times=200)
    figure = schedule_figure(record, 8, velocity="unit")
    assert figure.get_suptitle() == "gaussian, 96 samples, v = unit"
    assert rows(figure.axes[2])["equal corrector cost"] == pytest.approx(
        learned_levels(record, 8, velocity="unit")[:-1]
    )
    assert line(figure.axes[1], "corrector").get_ydata() == pytest.approx(
        SchedulePath.of(record, velocity="unit").cumulative / SchedulePath.of(record, velocity="unit").path_length
    )
    share = {name: line(schedule_figure(record, 8, velocity=name).axes[0], "corrector") for name in ("sigma", "unit")}
    ratio = share["unit"].get_ydata() / share["sigma"].get_ydata() * share["unit"].get_xdata()
    assert ratio[5:] == pytest.approx(np.mean(ratio[5:]), rel=0.05)  # speed over sigma, but for the coarse clean end


def test_the_title_names_model_samples_of_the_cost_and_guidance():
    record = costed_record(num_samples=12).with_origin(base_model="tiny", guidance_scale=3.0)
    assert schedule_figure(record).get_suptitle() == "tiny, 12 samples, guidance 3"  # r has 64


def test_all_panels_have_the_clean_end_at_the_left_and_the_same_levels():
    figure = schedule_figure(costed_record())
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    for axes in figure.axes:
        assert axes.get_xscale() == "log" and not axes.xaxis_inverted()
        assert "σ" in axes.get_xlabel()


def test_curves_are_below_the_legends():
    for record in RECORDS.values():
        figure = schedule_figure(record)
        figure.draw_without_rendering()
        local = figure.axes[0]
        legend = local.get_legend().get_window_extent()
        for one in local.get_lines():
            points = local.transData.transform(one.get_xydata())
            assert len(points) > 1 and np.max(points[:, 1]) < legend.y0


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_figure_can_be_written(tmp_path, suffix):
    schedule_figure(costed_record()).savefig(tmp_path / f"s.{suffix}")
    assert (tmp_path / f"s.{suffix}").stat().st_size > 5000


def test_the_settings_of_the_caller_are_untouched():
    before = dict(matplotlib.rcParams)
    schedule_figure(costed_record())
    assert dict(matplotlib.rcParams) == before


def test_what_cannot_be_drawn_is_refused():
    refused(MissingCostError, ["no 'solver' cost"], schedule_figure, gaussian_record())
    refused(MissingCostError, ["no 'corrector' cost"], schedule_figure, gaussian_record(), cost="corrector")
    refused(MissingCostError, ["no 'energy' cost"], schedule_figure, costed_record(), cost="energy")
    refused(TimestepsError, ["at least 1"], schedule_figure, costed_record(), 0)
    refused(ScheduleError, ["`velocity`", "'light'"], schedule_figure, costed_record(), velocity="light")


def test_without_matplotlib_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"diffusers-deis-sn\[plot\]"):
        schedule_figure(costed_record())


@pytest.mark.parametrize("steps", [2, 10])
def test_flows_are_drawn_below_noise_alone_beside_the_grids_of_diffusers(steps):
    """Noise alone has no level on a logarithmic axis; it stands where steps begin."""
    record = flow_record()
    _, length, levels = schedule_figure(record, steps).axes
    assert line(length, "calls").get_ydata() == pytest.approx(np.arange(steps, 0, -1) / steps, abs=1e-9)
    drawn = rows(levels)
    assert {levels[0] for levels in drawn.values()} == {PATH_TOP}
    assert drawn["equal corrector cost"][1:] == pytest.approx(learned_levels(record, steps)[1:-1])
    for title, flag in (("Karras, ρ = 7", "use_karras_sigmas"), ("log-linear", "use_exponential_sigmas")):
        euler = FlowMatchEulerDiscreteScheduler(**{flag: True})
        euler.set_timesteps(steps)
        sigma = euler.sigmas[1:steps].double().numpy()
        assert drawn[title][1:] == pytest.approx(sigma / (1.0 - sigma), rel=1e-4)


def test_the_path_of_the_solver_is_drawn_with_the_share_that_is_spread():
    record = solver_cost(costed_record(times=200))
    length = schedule_figure(record, 9, "solver").axes[1]
    assert line(length, "solver").get_label() == f"solver, length {SchedulePath.of(record, 'solver').path_length:.3g}"
    sigma, share = line(length, "calls").get_xydata().T
    assert sigma == pytest.approx(learned_levels(record, 9, "solver")[:-1])
    assert share == pytest.approx(np.arange(9, 0, -1) / 9, abs=1e-9)
