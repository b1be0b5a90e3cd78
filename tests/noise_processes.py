"""One process of every kind, by its kind: what the laws of processes and grids loop over."""

from __future__ import annotations

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.sigma import EDMSchedule, SigmaSchedule
from diffusers_deis_sn.core.vp import vp_schedule

PROCESSES: dict[str, NoiseSchedule] = {
    "vp": vp_schedule(**SD_BETAS),
    "ve": SigmaSchedule(label="sigma"),
    "edm": EDMSchedule(),
    "flow": FlowSchedule(),
}
