"""What becomes of a scheduler in the hands of others: swaps, files, copies, threads, and two pipelines at once."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, EDMEulerScheduler, EulerDiscreteScheduler
from diffusers.utils import DummyObject
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.errors import TimestepsError
from records import costed_record

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors
STATS = costed_record(DEISSNScheduler(**SD_BETAS).noise)
KARRAS_FAMILY = sorted(
    (cls for cls in DEISSNScheduler().compatibles if not isinstance(cls, DummyObject)), key=lambda cls: cls.__name__
)
OURS = [DEISSNScheduler, ScoreOptimalScheduler]
WISHES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "a solver": {"solver": "heun", "clip_normalizer_steps": 2.0},
    "numbers": {"guidance_scale": 2.0, "solver_order": 4},
    "a chain": {"solver": "ipndm", "solver_order": 3, "lower_order_final": False},
    "a solver of numbers": {"solver": Multistep(4, corrector=Corrector(3, 0.25)), "guidance_scale": 2.0},
    "a chain as a value": {"solver": Multistep(3, "rho", lower_order_final=False, equal_steps=True)},
    "a grid": {"grid": Power("sigma", 5.0), "start_time": 0.9},
}
DIFFUSERS_OWN = {  # what schedulers of Diffusers put into configs; no name of ours among them
    name for cls in KARRAS_FAMILY for name in cls.__init__.__wrapped__.__code__.co_varnames
}


def through_json(scheduler: Any, folder: Any) -> dict[str, Any]:
    scheduler.save_config(folder)
    return json.loads((folder / "scheduler_config.json").read_text())


def run(scheduler: Any, steps: int = 6, x: Tensor | None = None) -> Tensor:
    scheduler.set_timesteps(steps)
    x = torch.linspace(-1.0, 1.0, 12).reshape(1, 3, 4) if x is None else x
    for t in scheduler.timesteps:
        x = scheduler.step(torch.sin(3.0 * x + float(t) / 500.0), t, x, return_dict=False)[0]
    return x


# ------------------------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize(
    ("wishes", "as_file"),
    [
        ("defaults", False),
        ("a solver", True),
        ("numbers", False),
        ("a chain", True),
        ("a solver of numbers", False),
        ("a chain as a value", True),
        ("a grid", False),
        ("a grid", True),
    ],
)
@pytest.mark.parametrize(
    "theirs", [cls for cls in KARRAS_FAMILY if cls is not EDMEulerScheduler], ids=lambda cls: cls.__name__
)
@pytest.mark.parametrize("ours", OURS)
def test_there_and_back_without_a_word_and_with_the_statistics(ours, theirs, wishes, as_file, diffusers_log, tmp_path):
    options = WISHES[wishes]
    # EDM's schedulers warn about the config of any model of betas, whoever it comes from.
    original = DPMSolverMultistepScheduler(**SD_BETAS, timestep_spacing="leading", steps_offset=1, solver_order=3)
    scheduler = ours.from_config(original.config, stats=STATS, **options)
    there = theirs.from_config(through_json(scheduler, tmp_path) if as_file else scheduler.config)
    back = ours.from_config(through_json(there, tmp_path) if as_file else there.config)
    assert not diffusers_log
    assert back.statistics == STATS and back.options == scheduler.options
    assert torch.equal(run(back), run(scheduler))
    again = DPMSolverMultistepScheduler.from_config(back.config)
    for name in ("timestep_spacing", "steps_offset"):
        assert again.config[name] == original.config[name]


@pytest.mark.parametrize("theirs", KARRAS_FAMILY, ids=lambda cls: cls.__name__)
def test_a_file_of_ours_leaves_other_classes_their_own_spacing(theirs, tmp_path):
    """The configs of most checkpoints say none, and each class has its default."""
    for ours in OURS:
        said = json.loads(DDPMScheduler(**SD_BETAS).to_json_string())
        del said["timestep_spacing"]
        ours.from_config(said).save_pretrained(tmp_path)
        back = theirs.from_pretrained(tmp_path)
        assert back.config.get("timestep_spacing") == theirs().config.get("timestep_spacing")


@pytest.mark.parametrize("other", [EDMEulerScheduler, *OURS], ids=lambda cls: cls.__name__)
def test_a_model_of_betas_stays_one_whoever_held_its_config(other):
    back = DEISSNScheduler.from_config(other.from_config(DEISSNScheduler().config).config)
    assert back.noise.path == "vp" and back.options == DEISSNScheduler().options


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("wishes", WISHES.values(), ids=WISHES.keys())
def test_the_file_is_plain_json_with_one_key_of_ours(ours, wishes, tmp_path):
    scheduler = ours.from_config(EulerDiscreteScheduler(**SD_BETAS).config, stats=STATS, **wishes)
    content = through_json(scheduler, tmp_path)
    assert content.keys() - DIFFUSERS_OWN == {"_class_name", "_diffusers_version", "_deis_sn"}
    wished = {name for name, value in wishes.items() if name not in DIFFUSERS_OWN or value == 4}
    if ours is ScoreOptimalScheduler and "grid" in wished:  # each of the two keeps one of its own
        wished = wished - {"grid"} | {"learned_grid"}
    assert content["_deis_sn"].keys() - {"process", "stats"} == wished


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize(
    "options",
    [
        *WISHES.values(),
        {"process": "edm", "sigma_data": 0.4, "solver": Multistep(variable="rho")},
        {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0, "shift_terminal": 0.1},
    ],
    ids=str,
)
def test_a_scheduler_made_from_a_whole_config_is_the_same(ours, options):
    """`Scheduler(**scheduler.config)`, as some code makes copies."""
    vp = not options.get("process") and not options.get("use_flow_sigmas")
    scheduler = ours(**(SD_BETAS if vp else {}), **options, stats=STATS if vp else None)
    again = ours(**scheduler.config)
    assert again.options == scheduler.options and again.statistics == scheduler.statistics
    assert ours(**{**scheduler.config, "solver": "ipndm"}).options["solver"] == "ipndm"


def test_grids_survive_that_too():
    scheduler = DEISSNScheduler(**SD_BETAS, grid=Power("sigma", 5.0))
    again = DEISSNScheduler(**scheduler.config)
    assert (again.spacing, again.options["grid"]) == ("Power", Power("sigma", 5.0))


def test_an_option_changed_later_is_kept():
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.register_to_config(prediction_type="v_prediction", solver_order=4, solver="ipndm")
    back = DEISSNScheduler.from_config(EulerDiscreteScheduler.from_config(scheduler.config).config)
    names = ("prediction_type", "solver_order", "solver")
    assert [back.options[name] for name in names] == ["v_prediction", 4, "ipndm"]


def test_numbers_of_numpy_do_not_break_the_file(tmp_path):
    solver = Multistep(corrector=Corrector(3, np.float32(0.5)))
    scheduler = DEISSNScheduler(solver=solver, guidance_scale=np.float64(2.0))
    private = through_json(scheduler, tmp_path)["_deis_sn"]
    assert private["solver"]["corrector"]["gain"] == 0.5 and private["guidance_scale"] == 2.0


def test_no_path_of_this_machine_gets_into_a_config(tmp_path):
    STATS.save(tmp_path / "secret")
    scheduler = DEISSNScheduler.from_config(SD_BETAS, stats=tmp_path / "secret")
    for one in (scheduler, EulerDiscreteScheduler.from_config(scheduler.config)):
        assert "secret" not in json.dumps(through_json(one, tmp_path))
    assert DEISSNScheduler.from_config(EulerDiscreteScheduler.from_config(scheduler.config).config).statistics == STATS


def test_statistics_that_are_not_at_hand_are_said_to_be_missing(caplog):
    config = {**SD_BETAS, "_deis_sn": {"stats": "sha256:0123456789abcdef", "solver": "heun"}}
    scheduler = DEISSNScheduler.from_config(config)
    assert scheduler.statistics is None and scheduler.options["solver"] == "heun"
    assert "sha256:0123456789abcdef" in caplog.text and "Pass stats=" in caplog.text


# --------------------------------------------------------------------------------------------------------------- copies


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_in_the_middle_of_a_run_go_on_alone(ours, copied):
    scheduler = ours.from_config(SD_BETAS, stats=STATS)
    scheduler.set_timesteps(6)
    x = torch.linspace(-1.0, 1.0, 12)
    for t in scheduler.timesteps[:3]:
        x = scheduler.step(torch.sin(x), t, x).prev_sample
    other, ends = copied(scheduler), []
    for one in (other, scheduler):
        y = x
        for t in one.timesteps[3:]:
            y = one.step(torch.sin(y), t, y).prev_sample
        ends.append(y)
    assert torch.equal(*ends) and other.statistics == scheduler.statistics == STATS


def test_a_pickle_takes_its_statistics_to_another_process(tmp_path):
    scheduler = DEISSNScheduler.from_config(SD_BETAS, stats=STATS)
    (tmp_path / "scheduler.pickle").write_bytes(pickle.dumps(scheduler))
    program = (
        "import pickle, sys, pathlib; from diffusers_deis_sn import DEISSNScheduler; "
        "scheduler = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()); "
        "print(DEISSNScheduler.from_config(scheduler.config).statistics == scheduler.statistics is not None)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "scheduler.pickle")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "True"


def test_one_copy_for_each_thread_is_enough():
    scheduler = DEISSNScheduler.from_config(SD_BETAS, stats=STATS)
    noise = [torch.linspace(-1.0, 1.0 + n, 12) for n in range(4)]
    alone = [run(copy.deepcopy(scheduler), 20, x) for x in noise]
    together: list[Any] = [None] * 4
    threads = [
        threading.Thread(target=lambda n=n: together.__setitem__(n, run(copy.deepcopy(scheduler), 20, noise[n])))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(*pair) for pair in zip(alone, together, strict=True))


# ------------------------------------------------------------------------------------------------------- beyond the end


@pytest.mark.parametrize("time", [1000, 1500.0])
def test_noise_beyond_the_training_times_is_refused(time):
    scheduler = DEISSNScheduler(**SD_BETAS)
    with pytest.raises(TimestepsError, match="end at 999"):
        scheduler.add_noise(torch.ones(2, 3), torch.ones(2, 3), torch.tensor([10, time]))


def test_statistics_given_as_a_record_survive_a_pipelines_swap():
    ours = DEISSNScheduler.from_config(SD_BETAS, stats=STATS)
    assert isinstance(ours.statistics, ScoreStatistics)
    back = DEISSNScheduler.from_config(EulerDiscreteScheduler.from_config(ours.config).config)
    assert back.statistics == STATS
