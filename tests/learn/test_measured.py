"""What a record knows of its process: the same as the process itself."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.coefficients import starts_from_noise
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.sigma import EDMSchedule
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.learn import measured
from diffusers_deis_sn.learn.measured import call_times, in_whole_times
from diffusers_deis_sn.statistics import ScoreStatistics
from records import costed_record, edm_record, flow_record, gaussian_record

SD = vp_schedule(**SD_BETAS)
ZERO_SNR = vp_schedule(**SD_BETAS, rescale_betas_zero_snr=True)
MEASURED = pytest.mark.parametrize(
    ("record", "process"),
    [
        (costed_record(SD), SD),
        (costed_record(ZERO_SNR), ZERO_SNR),
        (edm_record(), EDMSchedule()),
        (flow_record(), FlowSchedule()),
        (flow_record(train=30), FlowSchedule(30)),
    ],
    ids=["vp", "zero snr", "edm", "flow", "flow of few times"],
)


@MEASURED
def test_a_record_tells_its_process(record: ScoreStatistics, process: NoiseSchedule) -> None:
    rho = np.exp(record.log_rho)
    assert measured.path_of(record) == process.path
    assert measured.starts_from_noise(record) == starts_from_noise(process, np.array([process.top]))
    ratio = measured.progress(record) / process.progress(rho)
    assert ratio == pytest.approx(np.full(len(rho), ratio[-1]), rel=1e-6)
    assert measured.as_sigma(record, rho) == pytest.approx(process.as_sigma(rho))


def test_a_flow_is_called_with_multiples_of_sigma() -> None:
    levels = np.geomspace(0.01, 50.0, 33)
    assert call_times(flow_record(), levels) == pytest.approx(1000.0 * levels / (1.0 + levels), rel=1e-6)


@pytest.mark.parametrize("record", [gaussian_record(times=200), edm_record(), edm_record("sigma")])
def test_times_between_the_measured_ones_are_those_of_the_process(record: ScoreStatistics) -> None:
    if in_whole_times(record):
        exact = vp_schedule().time
    else:
        exact = (lambda rho: 0.25 * np.log(rho)) if record.timesteps[0] < 0.0 else (lambda rho: rho)
    levels = np.exp(-0.5 * np.linspace(*record.log_snr[[0, -1]], 777))
    span = record.timesteps[-1] - record.timesteps[0]
    assert np.max(np.abs(call_times(record, levels) - exact(levels))) < 1e-4 * span
    assert call_times(record, np.exp(-0.5 * record.log_snr)) == pytest.approx(record.timesteps, rel=1e-9, abs=1e-9)
    ends = call_times(record, [1e-9, 1e9])
    assert ends.tolist() == pytest.approx(record.timesteps[[0, -1]].tolist())


def test_tables_have_whole_times_and_continua_have_none() -> None:
    assert in_whole_times(costed_record()) and in_whole_times(costed_record(SD))
    for record in (edm_record("log"), edm_record("sigma"), flow_record()):
        assert not in_whole_times(record)
