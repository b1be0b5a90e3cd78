"""When a measurement stops: after which samples it is looked at, which costs are given up, and what is said."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.collect.enough import POOR
from diffusers_deis_sn.collect.stopping import FEWEST, Stopping, at_guidance, tell_poor
from diffusers_deis_sn.core.vp import vp_schedule
from records import costed_record

SD = vp_schedule(**SD_BETAS)
RECORD = costed_record(SD)


class Recorder(SimpleNamespace):
    """Just what is asked of one: costs with uncertainties, and how many samples it has seen."""

    def __init__(self, drawn: int = FEWEST, error: float = 0.0, **uncertainties: float) -> None:
        record = replace(RECORD, mean_abs_error=error * RECORD.mean_abs)
        super().__init__(costs=tuple(uncertainties), drawn=drawn, num_samples=drawn, noise=SD, measured=lambda: record)
        self.uncertainty = uncertainties.__getitem__


@pytest.mark.parametrize(("drawn", "most", "look"), [(0, 64, 8), (3, 64, 8), (8, 64, 16), (8, 12, 12), (60, 64, 64)])
def test_costs_are_looked_at_after_every_few_samples_and_at_the_end(drawn, most, look):
    assert Stopping(Recorder(drawn, corrector=1.0), 0.1).next_look(most) == look
    assert Stopping(Recorder(drawn), 0.1).next_look(most) == most  # nothing is to be decided
    assert Stopping(Recorder(drawn, corrector=1.0), 0.0).next_look(most) == most


def test_costs_that_are_known_are_given_up_and_only_when_an_error_is_believed():
    for drawn, left in ((0, ("corrector", "predictor")), (7, ("corrector", "predictor")), (8, ("predictor",))):
        recorder = Recorder(drawn, corrector=0.05, predictor=0.2)
        Stopping(recorder, 0.1).give_up_costs()
        assert recorder.costs == left


@pytest.mark.parametrize(
    ("recorder", "enough"),
    [
        (Recorder(), True),
        (Recorder(error=1e-4), True),
        (Recorder(error=0.5), False),
        (Recorder(corrector=0.09), True),
        (Recorder(corrector=0.11), False),
    ],
)
def test_it_is_enough_where_neither_runs_nor_costs_would_change(recorder, enough):
    assert Stopping(recorder, 0.1).enough() == enough


def test_costs_that_were_missed_are_told_with_what_it_would_take(caplog):
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        Stopping(Recorder(16, corrector=0.2, predictor=0.05), 0.1).tell_missed()
        Stopping(Recorder(16, corrector=0.2), 0.0).tell_missed()
    assert caplog.messages == [
        "The corrector cost gives the path's length to ±0.2, not to tolerance=0.1, with 16 samples. 64 may do."
    ]


def test_rough_statistics_are_told_and_of_which_guidance(caplog):
    rough = replace(RECORD, mean_abs_error=POOR * 5.0 * RECORD.mean_abs).with_origin(guidance_scale=4.0)
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        tell_poor(replace(RECORD, mean_abs_error=1e-4 * RECORD.mean_abs), SD)
        tell_poor(rough, SD)
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("These statistics at guidance 4 are rough")
    assert at_guidance(RECORD.origin) == ""
