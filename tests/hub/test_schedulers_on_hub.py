"""Schedulers and whole pipelines from the Hub: statistics by name, beside the config, and by the name of the model."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler
from diffusers.modular_pipelines import ComponentSpec

from benchmarks.exact.flows import DDPM_BETAS, SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics
from diffusers_deis_sn.errors import StatisticsNotFoundError, StatisticsUnreachableError
from fake_hub import TOKEN, FakeHub
from records import costed_record, gaussian_record

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples/models/tiny-sd-digits"
STATS = ScoreStatistics.load(ROOT / "stats/tiny-sd-digits")
OURS = [DEISSNScheduler, ScoreOptimalScheduler]
both = pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return json.loads((MODEL / "scheduler/scheduler_config.json").read_text())


def publish(hub: FakeHub, name: str, statistics: ScoreStatistics = STATS, place: str = "", **flags: bool) -> str:
    """A repository with statistics; its commit."""
    repo = hub.add_repo(name, {f"{place}score_statistics.safetensors": statistics.to_bytes()}, **flags)
    return repo.head


def scheduler_repo(hub: FakeHub, cls: Any, config: dict[str, Any], folder: Path, **options: Any) -> str:
    """A repository "user/model" with nothing but a scheduler, saved as pipelines save it; its commit."""
    cls.from_config(config, **options).save_pretrained(folder / "scheduler")
    return hub.add_folder("user/model", folder).head


# -------------------------------------------------------------------------------------------------------------- by name


@both
@pytest.mark.parametrize("place", ["", "sd15/", "a/b/"])
@pytest.mark.parametrize("by", ["branch", "commit", "keyword"])
def test_statistics_by_name(cls, place, by, hub, config):
    commit = publish(hub, "user/stats", place=place)
    name, options = f"user/stats/{place}".rstrip("/"), {}
    if by == "commit":
        name += f"@{commit}"
    elif by == "keyword":
        name, options = "user/stats", {"subfolder": place.rstrip("/") or None, "revision": "main"}
    scheduler = cls.from_config(config, stats=name, **options)
    assert scheduler.statistics == STATS
    assert scheduler.config["_deis_sn"]["stats"] == f"user/stats/{place}".rstrip("/") + f"@{commit}"


def test_the_commit_is_remembered_so_that_a_model_does_not_change_by_itself(hub, config):
    first = publish(hub, "user/stats")
    scheduler = DEISSNScheduler.from_config(config, stats="user/stats")
    hub.repos["user/stats"].commit({"score_statistics.safetensors": STATS.with_origin(licence="mit").to_bytes()})
    there = EulerDiscreteScheduler.from_config(scheduler.config)
    requests = len(hub.requests)
    back = DEISSNScheduler.from_config(there.config)
    assert back.statistics == STATS and first in back.config["_deis_sn"]["stats"]
    assert len(hub.requests) == requests
    assert DEISSNScheduler.from_config(there.config, stats="user/stats").statistics.origin.licence == "mit"


@both
def test_a_name_in_use_does_not_answer_for_its_subfolders_or_for_what_is_to_be_fetched_anew(cls, hub, config):
    """Every cache is keyed by everything that chooses the answer."""
    other = STATS.with_origin(guidance_scale=9.0)
    repo = hub.add_repo("user/rooms", {"score_statistics.safetensors": STATS.to_bytes()})
    commit = repo.commit({"g9/score_statistics.safetensors": other.to_bytes()})
    name = f"user/rooms@{commit}"
    root = cls.from_config(config, stats=name)
    assert root.statistics == STATS
    assert cls.from_config(config, stats=name, subfolder="g9").statistics == other
    root.set_stats(name, subfolder="g9")
    assert root.statistics == other and "g9" in root.config["_deis_sn"]["stats"]
    assert cls.from_config(root.config).statistics == other and cls.from_config(config, stats=name).statistics == STATS
    requests = len(hub.requests)
    cls.from_config(config, stats=name)
    assert len(hub.requests) == requests
    cls.from_config(config, stats=name, force_download=True)
    assert len(hub.requests) > requests


def test_a_pinned_name_in_the_cache_costs_no_request_in_another_process(hub, tmp_path):
    commit = publish(hub, "user/stats", place="scheduler/score_statistics/")
    program = (
        "import sys; from diffusers_deis_sn import DEISSNScheduler; "
        "betas = {'beta_start': 0.00085, 'beta_end': 0.012, 'beta_schedule': 'scaled_linear'}; "
        "print(DEISSNScheduler.from_config(betas, stats=sys.argv[1]).statistics is not None)"
    )
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    for expected in (True, False):
        before = len(hub.requests)
        done = subprocess.run(
            [sys.executable, "-c", program, f"user/stats@{commit}"],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert done.stdout.strip() == "True" and (len(hub.requests) > before) is expected


def test_private_statistics_need_the_token_and_the_message_does_not_tell_it(hub, config):
    publish(hub, "user/stats", private=True)
    with pytest.raises(StatisticsNotFoundError) as raised:
        DEISSNScheduler.from_config(config, stats="user/stats", token="hf_wrong")
    assert "hf_wrong" not in str(raised.value)
    assert DEISSNScheduler.from_config(config, stats="user/stats", token=TOKEN).statistics == STATS


# ---------------------------------------------------------------------------------------------------- beside the config


@both
def test_a_scheduler_comes_with_the_statistics_beside_its_config(cls, hub, config, tmp_path):
    commit = scheduler_repo(hub, cls, config, tmp_path / "model", stats=STATS)
    for revision in (None, commit):
        loaded = cls.from_pretrained("user/model", subfolder="scheduler", revision=revision)
        assert loaded.statistics == STATS
        assert loaded.config["_deis_sn"]["stats"] == f"user/model/scheduler/score_statistics@{commit}"
    before = len(hub.requests)
    there = EulerDiscreteScheduler.from_config(loaded.config)
    assert cls.from_config(json.loads(there.to_json_string())).statistics == STATS and len(hub.requests) == before
    modular = ComponentSpec("scheduler", cls, pretrained_model_name_or_path="user/model", subfolder="scheduler").load()
    assert type(modular) is cls and modular.statistics == STATS


def test_without_statistics_there_it_is_plain_and_known_to_be_once_asked(hub, config, tmp_path, caplog):
    commit = scheduler_repo(hub, DEISSNScheduler, config, tmp_path / "model")
    for _ in range(2):
        before = len(hub.requests)
        assert DEISSNScheduler.from_pretrained("user/model", subfolder="scheduler", revision=commit).statistics is None
    assert len(hub.requests) == before and not caplog.records


def test_a_hub_that_fails_is_no_proof_that_there_are_none(hub, config, tmp_path):
    scheduler_repo(hub, DEISSNScheduler, config, tmp_path / "model", stats=STATS)
    hub.fault("score_statistics", status=503)
    with pytest.raises(StatisticsUnreachableError, match="stats=False"):
        DEISSNScheduler.from_pretrained("user/model", subfolder="scheduler")
    assert DEISSNScheduler.from_pretrained("user/model", subfolder="scheduler", stats=False).statistics is None


@both
def test_a_scheduler_saved_with_statistics_of_the_hub_remembers_their_name_too(cls, hub, config, tmp_path):
    commit = publish(hub, "user/stats")
    cls.from_config(config, stats="user/stats").save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved/scheduler_config.json").read_text())
    assert saved["_deis_sn"]["stats"] == f"user/stats@{commit}"
    hub.stop()
    assert cls.from_pretrained(tmp_path / "saved").statistics == STATS


# -------------------------------------------------------------------------------------------------- by the model's name


def index_repo(hub: FakeHub, **entries: Any) -> str:
    hub.add_repo("user/index", {"index.json": json.dumps({"format_version": 1, "models": entries}).encode()})
    return "user/index"


@pytest.fixture
def known(hub, monkeypatch) -> None:
    """An index on the Hub that names statistics of user/model."""
    publish(hub, "user/stats", STATS.with_origin(base_model="user/model"))
    monkeypatch.setenv("DEIS_SN_INDEX", index_repo(hub, **{"user/model": {"stats": "user/stats"}}))


@both
def test_auto_finds_the_statistics_of_the_model(cls, known, hub, config, tmp_path, caplog):
    scheduler_repo(hub, EulerDiscreteScheduler, config, tmp_path / "model")
    found = [
        cls.from_pretrained("user/model", subfolder="scheduler", stats="auto"),
        cls.from_config(config, stats="auto", base_model="user/model"),
        cls.from_config({**config, "_name_or_path": "user/model"}, stats="auto"),
    ]
    assert all(one.statistics is not None and one.statistics.origin.base_model == "user/model" for one in found)
    assert all(one.config["_deis_sn"]["stats"].startswith("user/stats@") for one in found)
    assert not caplog.records


@both
@pytest.mark.parametrize("why", ["unknown model", "no model", "other betas", "other model's", "no costs"])
def test_auto_falls_back_to_plain_deis_with_one_warning_and_never_to_a_wrong_table(cls, why, hub, config, caplog):
    if why == "no costs" and cls is DEISSNScheduler:
        pytest.skip("needs none")
    statistics = {
        "other betas": gaussian_record(DEISSNScheduler(**DDPM_BETAS).noise).with_origin(base_model="user/model"),
        "other model's": STATS.with_origin(base_model="somebody/else"),
        "no costs": gaussian_record(DEISSNScheduler(**SD_BETAS).noise).with_origin(base_model="user/model"),
    }.get(why, STATS.with_origin(base_model="user/model"))
    publish(hub, "user/stats", statistics)
    index = index_repo(hub, **{"user/model": {"stats": "user/stats"}})
    model = {"unknown model": "user/other", "no model": None}.get(why, "user/model")
    with caplog.at_level(logging.WARNING):
        scheduler = cls.from_config(config, stats="auto", base_model=model, index=index)
    assert scheduler.statistics is None and "stats" not in scheduler.config["_deis_sn"]
    assert len(caplog.records) == 1 and "without statistics" in caplog.text
    scheduler.set_timesteps(5)


@both
def test_auto_for_a_pipeline_goes_by_where_it_was_loaded_from(cls, hub, monkeypatch):
    monkeypatch.setenv("DEIS_SN_INDEX", str(ROOT / "stats"))
    pipe = DiffusionPipeline.from_pretrained(MODEL)
    scheduler = cls.for_pipeline(pipe)
    assert scheduler.statistics == STATS and not hub.requests
    assert cls.for_pipeline(pipe, stats=False).statistics is None
    assert cls.for_pipeline(pipe, stats=STATS, solver_order=1).options["solver_order"] == 1


# ------------------------------------------------------------------------------------------------------ whole pipelines

RUN = """
import sys
import torch
{imports}
from diffusers import DiffusionPipeline
try:
    pipe = DiffusionPipeline.from_pretrained("user/pipeline")
except ValueError as error:
    print("ValueError", " ".join(str(error).split()))
    raise SystemExit
pipe.set_progress_bar_config(disable=True)
image = pipe("a red seven", num_inference_steps=3, output_type="pt", generator=torch.Generator().manual_seed(0)).images
torch.save(image, sys.argv[1])
print(type(pipe.scheduler).__name__, getattr(pipe.scheduler, "statistics", None) is not None)
"""


@pytest.mark.slow
@both
def test_a_pipeline_saved_with_our_scheduler_comes_from_the_hub_whole_where_the_package_is_imported(
    cls, hub, tmp_path, monkeypatch
):
    pipe = DiffusionPipeline.from_pretrained(MODEL)
    pipe.scheduler = cls.from_config(pipe.scheduler.config, stats=STATS)
    pipe.save_pretrained(tmp_path / "pipeline")
    beside = [path.suffix for path in (tmp_path / "pipeline/scheduler").iterdir() if path.is_file()]
    assert beside == [".json"]  # any weights there would make Diffusers take the folder for one of a network
    hub.add_folder("user/pipeline", tmp_path / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    expected = pipe("a red seven", num_inference_steps=3, output_type="pt", generator=generator).images
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    said = []
    for imports in ("import diffusers_deis_sn", "") if cls is DEISSNScheduler else ("import diffusers_deis_sn",):
        command = [sys.executable, "-c", RUN.format(imports=imports), str(tmp_path / "image.pt")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.strip())
    assert said[0] == f"{cls.__name__} True"
    assert all("ValueError" in line and "diffusers_deis_sn" in line for line in said[1:])
    assert torch.allclose(torch.load(tmp_path / "image.pt", weights_only=True), expected, atol=1e-4)


def test_costs_travel_as_well(hub, config):
    statistics = costed_record(DEISSNScheduler(**SD_BETAS).noise)
    publish(hub, "user/stats", statistics)
    one, other = (ScoreOptimalScheduler.from_config(SD_BETAS, stats=source) for source in ("user/stats", statistics))
    for scheduler in (one, other):
        scheduler.set_timesteps(7)
    assert torch.equal(one.timesteps, other.timesteps)
