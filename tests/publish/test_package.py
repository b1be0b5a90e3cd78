"""A saved pipeline that others can load: with our package and, as plain DEIS, without it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.errors import PublishError
from diffusers_deis_sn.publish.package import package
from refusals import refused

ROOT = Path(__file__).resolve().parents[2]
MODEL, STATS = ROOT / "examples/models/tiny-sd-digits", ROOT / "stats/tiny-sd-digits"
SIDE_FILE = "scheduler/score_statistics/score_statistics.safetensors"
OURS = (DEISSNScheduler, ScoreOptimalScheduler)

WITHOUT_US = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "diffusers_deis_sn":
            raise ImportError("No module named 'diffusers_deis_sn'", name=name)

sys.meta_path.insert(0, Blocker())
"""
LOAD = """
import logging, sys
import diffusers
diffusers.utils.logging.set_verbosity_warning()
logging.getLogger("diffusers").addHandler(logging.StreamHandler(sys.stderr))
for argument in sys.argv[1:]:
    folder, _, trust = argument.partition("=")
    try:
        pipe = diffusers.DiffusionPipeline.from_pretrained(folder, trust_remote_code=trust == "trusted")
        pipe.set_progress_bar_config(disable=True)
        image = pipe("a red seven", num_inference_steps=2, output_type="np").images[0]
        known = getattr(pipe.scheduler, "statistics", None) is not None
        print(type(pipe.scheduler).__name__, image.std() > 0, known)
    except (ImportError, ValueError) as error:
        print(" ".join(str(error).split()))
"""


def load(home: Path, *pipelines: str, without_us: bool = False, **variables: str) -> tuple[list[str], str]:
    """Load pipelines in a fresh interpreter and run two steps of each; a line for each of them, and stderr."""
    program = WITHOUT_US + LOAD if without_us else LOAD
    command = [sys.executable, "-c", program, *pipelines]
    environment = {**os.environ, "HF_HOME": str(home), "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.fixture(scope="module")
def config():
    return json.loads((MODEL / "scheduler/scheduler_config.json").read_text())


@pytest.fixture
def saved(tmp_path, config):
    """Saves a pipeline with one of our schedulers; the components that matter here are the two JSON files."""

    def save(cls=DEISSNScheduler, whole: bool = False, name: str = "pipeline", **options) -> Path:
        folder = tmp_path / name
        ignored = () if whole else ("*.safetensors", "*.md", "*.txt")
        shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns(*ignored))
        shutil.rmtree(folder / "scheduler")
        options.setdefault("stats", STATS)
        cls.from_config(config, **options).save_pretrained(folder / "scheduler")
        index = json.loads((folder / "model_index.json").read_text())
        index["scheduler"] = ["diffusers_deis_sn", cls.__name__]
        (folder / "model_index.json").write_text(json.dumps(index))
        return folder

    return save


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def entry(folder: Path) -> list[str]:
    return json.loads((folder / "model_index.json").read_text())["scheduler"]


# ------------------------------------------------------------------------------------------------------ the shared form


@pytest.mark.slow
def test_without_our_package_the_shared_form_is_plain_deis_and_the_other_says_what_is_missing(saved, tmp_path):
    shared, code = saved(whole=True, name="shared"), saved(whole=True, name="code")
    package(shared)
    package(code, remote_code=True)
    (first, second), log = load(tmp_path, str(shared), f"{code}=trusted", without_us=True)
    assert first.split() == ["DEISMultistepScheduler", "True", "False"]
    assert "not expected" not in log
    assert "No module named 'diffusers_deis_sn'" in second
    assert "pip install diffusers_deis_sn" in log


@pytest.mark.parametrize("cls", OURS)
@pytest.mark.parametrize("options", [{}, {"solver": Multistep(3, "rho")}])
def test_our_scheduler_comes_back_from_the_shared_form(saved, cls, options):
    folder = saved(cls, **options)
    before = cls.from_pretrained(folder, subfolder="scheduler")
    package(folder)
    assert entry(folder) == ["diffusers", "DEISMultistepScheduler"]
    after = cls.from_pretrained(folder, subfolder="scheduler")
    assert after.statistics == before.statistics == ScoreStatistics.load(STATS)
    assert after.options == before.options
    before.set_timesteps(6)
    after.set_timesteps(6)
    assert after.timesteps.tolist() == before.timesteps.tolist()


@pytest.mark.parametrize(
    "options",
    [{}, {"solver_order": 4}, {"grid": Power("t", 2.0)}, {"solver": "kutta3"}, {"use_karras_sigmas": True}],
)
def test_diffusers_takes_the_shared_config_without_a_word(saved, options, diffusers_log):
    from diffusers import DEISMultistepScheduler

    folder = saved(**options)
    package(folder)
    scheduler = DEISMultistepScheduler.from_pretrained(folder, subfolder="scheduler")
    scheduler.set_timesteps(5)
    assert diffusers_log == []
    assert scheduler.config["_class_name"] == "DEISMultistepScheduler"


def test_a_hub_name_is_recorded_for_those_who_swap_schedulers(saved):
    folder = saved()
    package(folder, stats="user/repo@v1")
    config = json.loads((folder / "scheduler/scheduler_config.json").read_text())
    assert config["_deis_sn"]["stats"] == "user/repo@v1"
    refused(PublishError, ["'no name'", "user/repo"], package, folder, stats="no name")


def test_keys_of_another_family_are_left_out(saved, diffusers_log):
    from diffusers import DEISMultistepScheduler

    folder = saved()
    path = folder / "scheduler/scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shift": 3.0}))
    package(folder)
    DEISMultistepScheduler.from_pretrained(folder, subfolder="scheduler")
    assert diffusers_log == []


# --------------------------------------------------------------------------------------------------- the form with code


@pytest.mark.slow
def test_both_forms_load_from_the_hub_and_the_one_with_code_where_it_is_trusted(hub, saved, tmp_path):
    for name, remote_code in (("shared", False), ("code", True)):
        folder = saved(whole=True, name=name)
        package(folder, remote_code=remote_code)
        hub.add_folder(f"user/{name}", folder)
    online = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    (shared, trusted, untrusted), _ = load(tmp_path, "user/shared", "user/code=trusted", "user/code", **online)
    assert shared.split() == ["DEISMultistepScheduler", "True", "False"]
    assert trusted.split() == ["DEISSNScheduler", "True", "True"], "with the statistics beside its config"
    assert "trust_remote_code" in untrusted


@pytest.mark.parametrize("cls", OURS)
def test_the_code_is_a_shim(saved, cls):
    folder = saved(cls)
    done = package(folder, remote_code=True)
    assert done.scheduler == cls.__name__
    assert entry(folder) == ["deis_sn_scheduler", cls.__name__]
    scope: dict = {}
    exec((folder / "scheduler/deis_sn_scheduler.py").read_text(), scope)
    assert scope[cls.__name__] is cls


# ---------------------------------------------------------------------------------------------------------- either form


@pytest.mark.parametrize("remote_code", [False, True])
@pytest.mark.parametrize("cls", OURS)
def test_twice_is_as_good_as_once_and_both_forms_lead_to_each_other(saved, cls, remote_code):
    folder = saved(cls)
    first = package(folder, remote_code=remote_code)
    once = content(folder)
    assert {path.name for path in first.changed} >= {"model_index.json", "scheduler_config.json"} - (
        {"scheduler_config.json"} if remote_code else set()
    )
    assert package(folder, remote_code=remote_code).changed == []
    package(folder, remote_code=not remote_code)
    assert content(folder) != once
    back = package(folder, remote_code=remote_code)
    assert (content(folder), back.scheduler) == (once, cls.__name__)


@pytest.mark.parametrize("remote_code", [False, True])
def test_only_the_scheduler_is_touched(saved, remote_code):
    folder = saved()
    before = content(folder)
    package(folder, remote_code=remote_code)
    after = content(folder)
    touched = {"model_index.json", "scheduler/scheduler_config.json", "scheduler/deis_sn_scheduler.py"}
    assert {name for name in before | after if before.get(name) != after.get(name)} <= touched
    assert SIDE_FILE in after
    others = [json.loads(one["model_index.json"]) | {"scheduler": None} for one in (before, after)]
    assert others[0] == others[1]


@pytest.mark.parametrize("remote_code", [False, True])
def test_a_failure_leaves_the_folder_as_it_was(saved, monkeypatch, remote_code):
    folder = saved()
    before = content(folder)
    replace = Path.replace

    def fail(self, target):
        if Path(target).name == "model_index.json":
            raise OSError("disk full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        package(folder, remote_code=remote_code)
    monkeypatch.undo()
    assert content(folder) == before


def test_what_is_no_saved_pipeline_is_refused(saved, tmp_path):
    refused(PublishError, [str(tmp_path), "model_index.json", "save_pretrained"], package, tmp_path)
    refused(PublishError, ["no saved pipeline"], package, tmp_path / "none")
    folder = saved()
    for path, text in (("model_index.json", "[]"), ("scheduler/scheduler_config.json", "{")):
        good = (folder / path).read_text()
        (folder / path).write_text(text)
        refused(PublishError, [Path(path).name], package, folder)
        (folder / path).write_text(good)
    (folder / "scheduler" / "scheduler_config.json").unlink()
    refused(PublishError, ["scheduler/scheduler_config.json"], package, folder)


def test_a_pipeline_with_another_scheduler_is_refused(tmp_path):
    shutil.copytree(MODEL, tmp_path / "pipeline", ignore=shutil.ignore_patterns("*.safetensors"))
    before = content(tmp_path)
    words = ["DDIMScheduler", "DEISSNScheduler", "pipe.scheduler"]
    refused(PublishError, words, package, tmp_path / "pipeline")
    assert content(tmp_path) == before


def test_a_process_that_the_stand_in_does_not_know_is_refused(saved):
    folder = saved(stats=None, process="edm")
    refused(PublishError, ["'edm'", "noise", "--remote-code"], package, folder)
    package(folder, remote_code=True)


@pytest.mark.parametrize("ending", [".safetensors", ".bin", ".onnx", ".pb", ".flashpack"])
def test_weights_in_the_scheduler_folder_are_refused(saved, ending):
    folder = saved()
    shutil.copy(folder / SIDE_FILE, folder / f"scheduler/score_statistics{ending}")
    refused(PublishError, [f"score_statistics{ending}", "one folder deeper"], package, folder)


def test_options_that_diffusers_does_not_take_are_refused(saved):
    folder = saved()
    path = folder / "scheduler/scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"timestep_spacing": "no such grid"}))
    refused(PublishError, ["no such grid", "--remote-code"], package, folder)
