"""The suite's networks: they load, sample, can be calibrated, and their training goes on where it was stopped."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from benchmarks.suite import architectures, judges, networks, pictures, train, training
from diffusers_deis_sn import DEISSNScheduler, calibrate

ROOT = Path(__file__).resolve().parents[2]

NAMES = tuple(networks.NETWORKS)
CLASSIC = (DPMSolverMultistepScheduler, UniPCMultistepScheduler)
RIVALS: dict[str, tuple[type, ...]] = {
    "epsilon": (*CLASSIC, EulerDiscreteScheduler),
    "v_prediction": (*CLASSIC, EulerDiscreteScheduler),
    "edm": (EDMDPMSolverMultistepScheduler,),
    "flow": (FlowMatchHeunDiscreteScheduler,),
}


@pytest.fixture(scope="module", params=NAMES)
def pipe(request: pytest.FixtureRequest) -> Any:
    return networks.load(request.param)


def noise(pipe: Any, number: int = 2) -> torch.Tensor:
    return torch.randn(number, *pipe.description.shape, generator=torch.Generator().manual_seed(5))


def labels(pipe: Any, number: int = 2) -> torch.Tensor | None:
    return None if pipe.description.classes is None else torch.arange(number)


# ------------------------------------------------------------------------------------------------- what is shipped


def test_half_of_the_networks_choose_and_half_only_report() -> None:
    roles = [description.role for description in networks.NETWORKS.values()]
    assert roles.count("choosing") == roles.count("reporting") == len(roles) / 2


@pytest.mark.parametrize("name", [*NAMES, *judges.JUDGES])
def test_weights_are_small(name: str) -> None:
    weights = networks.MODELS / name / networks.WEIGHTS
    assert weights.stat().st_size <= 2_000_000


def test_configs_describe_what_the_module_loads(pipe: Any) -> None:
    config = json.loads((networks.MODELS / pipe.name / networks.CONFIG).read_text())
    assert config["role"] == pipe.description.role
    kind = config["scheduler"].pop("_class_name")
    assert type(pipe.scheduler).__name__ == kind
    assert {key: pipe.scheduler.config[key] for key in config["scheduler"]} == config["scheduler"]


def test_output_changes_smoothly_with_fractional_times(pipe: Any) -> None:
    scale = 0.001 if pipe.description.process == "edm" else 1.0
    x = noise(pipe)
    low, middle, high = (pipe.guided(x, scale * (400.0 + step), labels(pipe)) for step in (0.0, 0.5, 1.0))
    near, far = (middle - low).abs().mean(), (high - low).abs().mean()
    assert 0.0 < near < far < 0.1
    torch.testing.assert_close(middle, 0.5 * (low + high), atol=0.01, rtol=0.0)


def test_output_is_deterministic_float32(pipe: Any) -> None:
    x = noise(pipe)
    first, second = (pipe.guided(x.double(), 0.3, labels(pipe)) for _ in range(2))
    assert first.dtype == torch.float32
    assert torch.equal(first, second)


def test_every_solver_of_the_process_draws_pictures_and_calls_are_counted(pipe: Any) -> None:
    own = pipe.scheduler
    for kind in (type(own), DEISSNScheduler, *RIVALS[pipe.description.process]):
        pipe.scheduler, pipe.calls = kind.from_config(own.config), 0
        out = pipe(num_inference_steps=12, guidance_scale=1.0, class_labels=labels(pipe), latents=noise(pipe))
        assert out.shape == (2, *pipe.description.shape) and out.dtype == torch.float32
        assert pipe.calls == len(pipe.scheduler.timesteps) >= 12
        assert 0.2 < out.square().mean().sqrt() < 1.5, kind
    pipe.scheduler = own


def test_calibrate_measures_it(pipe: Any) -> None:
    before = pipe.scheduler
    statistics = calibrate(pipe, num_samples=3, num_inference_steps=6, batch_size=2, trials=0, progress=False)
    assert pipe.scheduler is before
    assert statistics.origin.base_model == pipe.name
    assert (np.asarray(statistics.num_samples) == 3).all()


@pytest.mark.parametrize("name", ["digits-unet", "emoji-edm", "digits-mlp-flow"])
def test_judges_have_features(name: str) -> None:
    judge, description = networks.judge_for(name), networks.NETWORKS[name]
    if description.data == "digits":
        assert judge is None
        return
    shown = torch.zeros(3, *description.shape)
    assert judge.features(shown).shape == (3, judges.FEATURES)
    assert 0.0 <= judge.accuracy(shown, torch.zeros(3, dtype=torch.int64)) <= 1.0


# ------------------------------------------------------------------------------------------------------ the object


def small_pipe() -> Any:
    description = networks.NETWORKS["digits-mlp-flow"]
    network = architectures.build(description.architecture, description.scheduler).eval()
    torch.nn.init.normal_(network.inner.head.weight, std=0.02)
    return networks.SuitePipeline(network, description, description.make_scheduler())


def test_guidance_mixes_in_the_network_without_a_class_and_counts_once() -> None:
    pipe, x = small_pipe(), torch.randn(2, 1, 8, 8)
    one, free = (pipe.guided(x, 300.0, torch.tensor(kind)) for kind in ([1, 2], [10, 10]))
    pipe.calls = 0
    guided = pipe.guided(x, 300.0, torch.tensor([1, 2]), 3.0)
    torch.testing.assert_close(guided, free + 3.0 * (one - free))
    assert pipe.calls == 1


def test_samples_do_not_depend_on_the_batch() -> None:
    pipe = small_pipe()
    together = pipe(batch_size=3, num_inference_steps=3, generator=[torch.Generator().manual_seed(i) for i in range(3)])
    alone = pipe(batch_size=1, num_inference_steps=3, generator=[torch.Generator().manual_seed(2)])
    torch.testing.assert_close(together[2:], alone)


def test_labels_are_used_in_turn_and_checked() -> None:
    pipe, x = small_pipe(), torch.randn(4, 1, 8, 8)
    assert torch.equal(pipe(class_labels=[1, 2], latents=x), pipe(class_labels=[1, 2, 1, 2], latents=x))
    with pytest.raises(ValueError, match="from 0 to 9"):
        pipe(class_labels=[10], latents=x)
    with pytest.raises(ValueError, match="4 latents for `batch_size` = 3"):
        pipe(batch_size=3, latents=x)


def test_missing_and_foreign_networks_say_how_to_train_them(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="There are emoji-unet, digits-dit"):
        networks.load("digits")
    with pytest.raises(FileNotFoundError, match=r"suite\.train digits-dit --output"):
        networks.load("digits-dit", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"suite\.train emoji-judge --output"):
        networks.judge_for("emoji-edm", tmp_path)
    (tmp_path / "digits-edm").mkdir()
    (tmp_path / "digits-edm" / networks.WEIGHTS).touch()
    (tmp_path / "digits-edm" / networks.CONFIG).write_text('{"architecture": {"kind": "unet", "size": 64}}')
    with pytest.raises(ValueError, match="describes another network"):
        networks.load("digits-edm", tmp_path)


# -------------------------------------------------------------------------------------------------------- training


class CutError(Exception):
    """A run that was stopped."""


def trained(checkpoint: Path, cut_at: int | None = None) -> tuple[dict[str, torch.Tensor], Any]:
    """Four steps of the perceptron, checkpoints every second one."""
    torch.manual_seed(3)
    description = networks.NETWORKS["digits-mlp-flow"]
    network = architectures.build(description.architecture, description.scheduler)
    data, _ = pictures.load_pictures("digits", None)
    seen = SimpleNamespace(steps=0)

    def loss(network: torch.nn.Module, generator: torch.Generator) -> torch.Tensor:
        if seen.steps == cut_at:
            raise CutError
        seen.steps += 1
        clean, kinds = data.batch(8, generator)
        return network(clean, torch.full((8,), 500.0), kinds).square().sub(0.5).square().mean()

    run = training.train(network, loss, 4, checkpoint, name="test", rate=1e-3, precision="no", every=2)
    return network.state_dict(), run


def test_a_run_that_was_cut_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    whole, run = trained(tmp_path / "whole.pt")
    with pytest.raises(CutError):
        trained(tmp_path / "cut.pt", cut_at=3)
    resumed, again = trained(tmp_path / "cut.pt")
    assert run.count == again.count == 4
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert not list(tmp_path.glob("*.unfinished"))


def test_checkpoints_of_another_network_are_refused(tmp_path: Path) -> None:
    trained(tmp_path / "run.pt")
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    state["network"].popitem()
    torch.save(state, tmp_path / "run.pt")
    with pytest.raises(RuntimeError, match="another network"):
        trained(tmp_path / "run.pt")


def test_the_program_trains_once_and_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--output", str(tmp_path / "models"), "--checkpoints", str(tmp_path / "runs"), "--steps", "2"]
    train.main(["digits-mlp-flow", *where])
    folder = tmp_path / "models" / "digits-mlp-flow"
    files = {"config.json", "model.safetensors", "samples.png", "training.json"}
    assert {path.name for path in folder.iterdir()} == files
    pipe = networks.load("digits-mlp-flow", tmp_path / "models")
    assert torch.isfinite(pipe(batch_size=1, num_inference_steps=2)).all()
    assert json.loads((folder / "training.json").read_text())["steps"] == 2
    assert "| [digits-mlp-flow]" in (tmp_path / "models" / "README.md").read_text()
    train.main(["digits-mlp-flow", *where])
    assert "there already" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="give --mnist FILE"):
        train.main(["digit-judge", *where, "--mnist", str(tmp_path / "none.npz")])
    with pytest.raises(SystemExit):
        train.main(["digits-ditt", *where])
    assert "no network digits-ditt" in capsys.readouterr().err
