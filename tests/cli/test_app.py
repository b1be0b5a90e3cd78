"""The command line: what it writes, what it says, and that nothing is left behind when it fails."""

from __future__ import annotations

import re
import signal

import numpy as np
import pytest
import torch
import typer
from diffusers import StableDiffusionPipeline
from PIL import Image

from comparisons import planned
from diffusers_deis_sn import __version__, calibrate
from diffusers_deis_sn.cli.app import app, main
from diffusers_deis_sn.learn.export import schedule_text
from diffusers_deis_sn.statistics import ScoreStatistics
from diffusers_deis_sn.statistics.origin import hash_prompts
from records import gaussian_record, tiny_record, write_published
from single_files import save_single_file
from tiny_pipelines import BUILDERS

FILE = "score_statistics.safetensors"
CHECKPOINT = ".score_statistics.checkpoint.safetensors"
QUICK = ("--num-samples", "3", "--batch-size", "2", "--steps", "3", "--trials", "0", "--device", "cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with saved pipelines."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("sd", "sd_img2img", "ddpm", "dit"):
        BUILDERS[name]()[0].save_pretrained(folder / name)
    save_single_file(BUILDERS["sd"]()[0], folder / "mine.safetensors")
    return folder


def assert_one_line(error: str, *fragments: object) -> None:
    assert error.startswith("deis-sn: ")
    assert error.count("\n") == 1
    for fragment in fragments:
        assert str(fragment) in error


def test_version(run):
    assert run("--version") == (0, f"diffusers-deis-sn {__version__}\n", "")


@pytest.mark.parametrize("command", ["calibrate", "import", "inspect", "schedule", "plot"])
def test_help_of_every_command(run, command):
    code, text, _ = run(command, "--help")
    assert code == 0
    assert "Usage: deis-sn" in text


def test_no_help_has_words_in_brackets_which_the_terminal_would_swallow():
    """They read as a style there: defaults that are said so are shown to nobody. `show_default` says them."""
    for command in typer.main.get_command(app).commands.values():
        told = [command.help, *(getattr(one, "help", None) for one in command.params)]
        assert not [text for text in told if text and re.search(r"\[[a-z/]", text)], command.name


def test_calibrate_writes_a_file_and_says_where(run, models, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red seven\n\n  a blue two  \n", encoding="utf-8")
    arguments = (models / "sd", "--prompts", prompts, "--guidance-scale", "3", "--licence", "MIT", "--seed", "4")
    code, text, progress = run("calibrate", *arguments, *QUICK, "-o", tmp_path / "out")
    assert code == 0
    assert f"3 samples at 4 times. Written to {tmp_path / 'out' / FILE}" in text
    assert "3.0/3 samples" in progress
    origin = ScoreStatistics.load(tmp_path / "out").origin
    assert (origin.base_model, origin.guidance_scale, origin.licence, origin.seed) == ("sd", 3.0, "MIT", 4)
    assert origin.prompts_hash == hash_prompts(["a red seven", "a blue two"])
    assert origin.dtype == "float32"


def test_calibrate_tries_recipes_on_so_many_samples_and_inspect_tells_the_best(run, models, tmp_path, monkeypatch):
    from diffusers_deis_sn.collect import run as running

    monkeypatch.setattr(running, "MENU", running.MENU[:2])
    monkeypatch.setattr(running, "CALLS", (2, 4))
    options = ("calibrate", models / "ddpm", *QUICK, "-o")
    code, _, progress = run(*options, tmp_path / "tried", "--trials", "2")
    assert code == 0 and "Trying recipes" in progress and "2.0/2 samples" in progress
    trials = ScoreStatistics.load(tmp_path / "tried").trials
    assert (trials.num_samples, trials.calls, trials.recipes) == (2, (2, 4), running.MENU)
    shown = run("inspect", tmp_path / "tried")[1]
    for calls in (2, 4):
        (first, error), (second, other) = trials.ranking(calls)
        assert f"best in {calls} calls" in shown
        assert f"{first}, error {error:.3g}; second {second}, error {other:.3g}\n" in shown
    assert run(*options, tmp_path / "bare")[0] == 0
    assert ScoreStatistics.load(tmp_path / "bare").trials is None
    code, _, error = run(*options, tmp_path / "wrong", "--trials", "-1")
    assert code == 2
    assert_one_line(error.splitlines(keepends=True)[-1], "--trials must be a whole number, 0 or more, got -1")


def test_recipes_are_tried_unless_that_is_declined(run, models, tmp_path, monkeypatch):
    asked = []

    def measure(*_, **options):
        asked.append(options["trials"])
        return gaussian_record()

    monkeypatch.setattr("diffusers_deis_sn.collect.run.calibrate", measure)
    for place, options in enumerate(((), ("--trials", "0"), ("--trials", "3"))):
        assert run("calibrate", models / "ddpm", "--device", "cpu", "-o", tmp_path / f"{place}", *options)[0] == 0
    assert asked == [4, 0, 3]


def test_calibrate_in_the_precision_asked_for(run, models, tmp_path):
    (tmp_path / "prompts.txt").write_text("a red seven")
    arguments = (models / "sd", "--prompts", tmp_path / "prompts.txt", "--dtype", "bfloat16")
    code, _, _ = run("calibrate", *arguments, *QUICK, "-o", tmp_path / "mine.safetensors")
    assert code == 0
    assert ScoreStatistics.load(tmp_path / "mine.safetensors").origin.dtype == "bfloat16"


def test_calibrate_a_single_file_as_the_folder_that_it_was_made_of(run, models, tmp_path):
    (tmp_path / "prompts.txt").write_text("a red seven", encoding="utf-8-sig")
    options = ("--prompts", tmp_path / "prompts.txt", *QUICK, "-o")
    assert run("calibrate", models / "sd", *options, tmp_path / "folder")[0] == 0
    single = ("calibrate", models / "mine.safetensors", "--config", models / "sd")
    assert run(*single, *options, tmp_path / "single")[0] == 0
    folder, file = (ScoreStatistics.load(tmp_path / name) for name in ("folder", "single"))
    np.testing.assert_allclose(file.mean_abs, folder.mean_abs, rtol=1e-5)
    assert (folder.origin.base_model, file.origin.base_model) == ("sd", "mine")
    assert file.origin.prompts_hash == hash_prompts(["a red seven"])  # without the mark


def test_calibrate_passes_on_what_the_pipeline_takes(run, models, tmp_path):
    (tmp_path / "prompts.csv").write_text("prompt,negative\na red seven,dull\na blue two,grey\n")
    command = ("calibrate", models / "sd", "--prompts", tmp_path / "prompts.csv", "--license", "MIT", "-o")
    quick = [{"--steps": "--num-inference-steps"}.get(one, one) for one in QUICK]
    assert (
        run(*command, tmp_path / "out", *quick, "--height", 16, "--width", 48, "--arg", "guidance_rescale=0.7")[0] == 0
    )
    found = ScoreStatistics.load(tmp_path / "out")
    pipe = StableDiffusionPipeline.from_pretrained(models / "sd")
    texts = {"prompts": ["a red seven", "a blue two"], "negative_prompt": ["dull", "grey"]}
    options = {"num_samples": 3, "batch_size": 2, "num_inference_steps": 3, "trials": 0, "progress": False}
    assert found == calibrate(pipe, **texts, **options, height=16, width=48, guidance_rescale=0.7, licence="MIT")
    assert found.origin.sample_shape == (4, 8, 24)


def test_calibrate_takes_labels_and_pictures_in_turn(run, models, tmp_path):
    labels = ("--arg", "class_labels=3", "--arg", "class_labels=1", "--arg", "guidance_scale=1.0")
    assert run("calibrate", models / "dit", *QUICK, *labels, "-o", tmp_path / "dit")[0] == 0
    assert ScoreStatistics.load(tmp_path / "dit").most_samples == 3
    for name, colour in (("cat", "red"), ("dog", "blue")):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "prompts.txt").write_text("a red seven")
    command = ("calibrate", models / "sd_img2img", *QUICK, "--steps", 5, "--prompts", tmp_path / "prompts.txt")
    cat, dog = (("--arg", f"image={tmp_path / name}.png") for name in ("cat", "dog"))
    for name, pictures in (("cat", cat), ("both", (*cat, *dog))):
        assert run(*command, *pictures, "-o", tmp_path / name)[0] == 0
    one, both = (ScoreStatistics.load(tmp_path / name) for name in ("cat", "both"))
    assert one.most_samples == both.most_samples == 3 and not np.array_equal(one.mean_abs, both.mean_abs)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_calibration_leaves_the_file_before_and_its_checkpoint(
    run, models, tmp_path, monkeypatch, interruption
):
    from diffusers_deis_sn.collect.recorder import RecordingScheduler

    steps = []

    def step(self, *arguments, **options):
        steps.append(1)
        if len(steps) == 5:
            raise interruption
        return original(self, *arguments, **options)

    original = RecordingScheduler.step
    monkeypatch.setattr(RecordingScheduler, "step", step)
    old = tiny_record().save(tmp_path / "out").read_bytes()
    arguments = ("calibrate", models / "ddpm", *QUICK, "-o", tmp_path / "out", "--force")
    if interruption is KeyboardInterrupt:
        assert run(*arguments)[0] != 0
    else:
        with pytest.raises(MemoryError):
            main([str(one) for one in arguments])
    assert len(steps) == 5  # the first of the second batch
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {FILE, CHECKPOINT}
    assert (tmp_path / "out" / FILE).read_bytes() == old


def interrupted_in_the_second_batch(run, monkeypatch, *arguments):
    """Run a calibration that gets Ctrl-C in its fifth step."""
    from diffusers_deis_sn.collect.recorder import RecordingScheduler

    steps, original = [], RecordingScheduler.step

    def step(self, *positional, **named):
        steps.append(1)
        if len(steps) == 5:
            signal.raise_signal(signal.SIGINT)
        return original(self, *positional, **named)

    with monkeypatch.context() as patch:
        patch.setattr(RecordingScheduler, "step", step)
        return run(*arguments)


@pytest.mark.parametrize("output", ["out", "mine.safetensors"])
def test_ctrl_c_finishes_the_batch_and_resume_gives_the_file_of_an_uninterrupted_run(
    run, models, tmp_path, monkeypatch, output
):
    options = ("calibrate", models / "ddpm", *QUICK, "--num-samples", "5", "-o")
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / f".{FILE}.ab12.tmp").write_bytes(b"half")  # of a process that was killed while it wrote
    assert run(*options, tmp_path / "whole")[0] == 0
    assert [one.name for one in (tmp_path / "whole").iterdir()] == [FILE]
    code, text, error = interrupted_in_the_second_batch(run, monkeypatch, *options, tmp_path / output)
    assert (code, text) == (130, "")
    assert_one_line(error.splitlines(keepends=True)[-1], "SIGINT after 4 of 5 samples", "--resume")
    assert [one.name.startswith(".") for one in tmp_path.rglob("*checkpoint*")] == [True]
    # Neither the same command again nor another measurement does away with what was measured.
    for wrong, told in (((), "--resume"), (("--resume", "--seed", "9"), "seed was 0, now 9")):
        code, _, error = run(*options, tmp_path / output, *wrong)
        assert code == 2
        assert_one_line(error.splitlines(keepends=True)[-1], "checkpoint", told)
    code, text, _ = run(*options, tmp_path / output, "--resume")
    assert code == 0 and "5 samples" in text
    whole, resumed = (ScoreStatistics.load(tmp_path / place) for place in ("whole", output))
    assert resumed.to_bytes() == whole.to_bytes()
    assert not list(tmp_path.rglob("*checkpoint*"))


def test_force_begins_anew_and_replaces_a_measurement(run, models, tmp_path, monkeypatch):
    options = ("calibrate", models / "ddpm", *QUICK, "-o", tmp_path / "out")
    assert interrupted_in_the_second_batch(run, monkeypatch, *options, "--num-samples", "7")[0] == 130
    assert run(*options, "--force", "--seed", "4")[0] == 0
    first = (tmp_path / "out" / FILE).read_bytes()
    for more in ((), ("--resume",)):
        code, text, error = run(*options, *more)
        assert (code, text) == (2, "")
        assert_one_line(error, FILE, "holds a measurement already", "--force")
    assert (tmp_path / "out" / FILE).read_bytes() == first
    planned(5, 8).save(tmp_path / "out")
    code, text, _ = run(*options, "--force", "--seed", "5")
    assert code == 0 and "(5, 8 calls) go with the statistics" in text
    assert ScoreStatistics.load(tmp_path / "out").origin.seed == 5


def test_resume_without_anything_to_go_on_from_begins(run, models, tmp_path):
    assert run("calibrate", models / "ddpm", *QUICK, "-o", tmp_path / "out", "--resume")[0] == 0


def test_a_file_that_cannot_be_written_in_the_end_costs_nothing(run, models, tmp_path, monkeypatch):
    from diffusers_deis_sn.collect.recorder import RecordingScheduler

    options = ("calibrate", models / "ddpm", *QUICK, "-o", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(ScoreStatistics, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        code, _, error = run(*options)
    assert code == 2 and "No space left" in error
    with monkeypatch.context() as patch:
        patch.setattr(RecordingScheduler, "step", lambda *_, **__: pytest.fail("measured again"))
        assert run(*options, "--resume")[0] == 0
    assert ScoreStatistics.load(tmp_path / "out").most_samples == 3


@pytest.mark.parametrize(
    "case", ["a measurement is there", "an unfinished one is there", "another one is unfinished", "no disk"]
)
def test_what_is_wrong_with_the_output_is_known_before_the_model_is_loaded(run, tmp_path, monkeypatch, case):
    from diffusers_deis_sn.collect.checkpoint import Checkpoint, Keeper

    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    out, options, told = tmp_path / "out", (), ()
    if case == "a measurement is there":
        tiny_record().save(out)
        told = (FILE, "--force")
    elif case == "an unfinished one is there":
        Keeper(out / CHECKPOINT, False).write(Checkpoint({}))
        told = (CHECKPOINT, "--resume", "--force")
    elif case == "another one is unfinished":
        Keeper(out / CHECKPOINT, False).write(Checkpoint({"seed": 0, "batch_size": 2, "num_inference_steps": 3}))
        options, told = ("--resume", "--seed", "1"), ("seed was 0, now 1",)
    else:
        out, told = "/proc/nowhere", ("/proc/nowhere", "Choose another folder")
    code, text, error = run("calibrate", "user/model", *QUICK, *options, "-o", out)
    assert (code, text) == (2, "")
    assert_one_line(error, *told)


def test_samples_that_are_not_finite_are_named_or_left_out(run, models, tmp_path, monkeypatch):
    from diffusers import UNet2DModel

    original = UNet2DModel.forward

    def broken(self, sample, *positional, **named):
        result = original(self, sample, *positional, **named)
        result.sample[-1] = float("nan")  # the last of each batch: samples 2 and 4
        return result

    monkeypatch.setattr(UNet2DModel, "forward", broken)
    options = ("calibrate", models / "ddpm", *QUICK, "--num-samples", "5", "--batch-size", "3", "-o")
    code, _, error = run(*options, tmp_path / "out")
    assert code == 2
    assert_one_line(error.splitlines(keepends=True)[-1], "t = 999, for sample 2.", "--skip-invalid")
    code, text, _ = run(*options, tmp_path / "out", "--skip-invalid")
    assert code == 0 and "3 samples at" in text
    assert ScoreStatistics.load(tmp_path / "out").origin.num_skipped == 2


def test_calibrate_refuses_bad_input_in_one_line(run, models, tmp_path):
    out = tmp_path / "out"
    empty, binary = tmp_path / "empty.txt", tmp_path / "binary.txt"
    empty.write_text(" \n\n")
    binary.write_bytes(b"\xff\xfe\x00")
    cases = (
        ((models / "sd",), "prompts"),
        ((models / "sd", "--prompts", empty), "holds no prompts"),
        ((models / "sd", "--prompts", binary), "UTF-8"),
        ((models / "sd", "--prompts", tmp_path / "nowhere.txt"), "nowhere.txt"),
        ((models / "ddpm", "--guidance-scale", "3"), "takes no guidance_scale"),
        ((tmp_path / "no-model",), "cannot be loaded"),
        ((models / "ddpm", "--num-samples", "1"), "--num-samples"),
        ((models / "ddpm", "--steps", "1"), "--steps"),
        ((models / "ddpm", "--steps", "2000"), "2000"),
        ((models / "ddpm", "--guidance-scale", "-1"), "--guidance-scale must be 0 or more"),
        ((models / "ddpm", "--height", "32"), "takes no height"),
        ((models / "ddpm", "--arg", "sted=3"), "takes no sted (did you mean --seed?)"),
        ((models / "ddpm", "--arg", "eta"), "--arg must be NAME=VALUE"),
        ((models / "dit",), "Pass --arg class_labels=... to the calibration"),
        ((models / "dit", "--arg", "generator=3"), "Use --seed."),
        ((models / "sd", "--arg", "height=32", "--height", "64"), "--height is given twice"),
        ((models / "ddpm", "--offload", "model"), "--offload is 'model'"),
        ((models / "ddpm", "--config", models / "sd"), "--config is for single files"),
        ((models / "ddpm", "--lora", tmp_path / "none.safetensors"), "--lora has"),
        ((models / "ddpm", "--vae", tmp_path / "none"), "--vae is"),
        ((models / "mine.safetensors", "--revision", "main"), "--revision is for Hub models"),
        ((models / "mine.safetensors", "--variant", "fp16"), "--variant is for"),
        ((models / "mine.safetensors", "--prompts", binary), "UTF-8"),
        ((binary,), "is no checkpoint"),
    )
    for arguments, fragment in cases:
        code, text, error = run("calibrate", *QUICK, *arguments, "-o", out)
        assert (code, text) == (2, ""), arguments
        line = error.splitlines(keepends=True)[-1]  # progress bars of the loading come before
        assert_one_line(line, fragment)
        assert "Traceback" not in error
    # Costs that take calls of their own are asked for; the solver's is part of every measurement.
    assert run("calibrate", models / "ddpm", *QUICK, "--cost", "solver", "-o", out)[:2] == (2, "")
    assert not out.exists()


def test_calibrate_refuses_a_bad_destination_before_it_measures(run, models, tmp_path, monkeypatch):
    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    (tmp_path / "notes.txt").write_text("mine")
    code, _, error = run("calibrate", models / "ddpm", *QUICK, "-o", tmp_path / "notes.txt")
    assert code == 2
    assert_one_line(error, "notes.txt")


def test_import_writes_a_file_and_says_where(run, tmp_path):
    file = write_published(tmp_path / "mine.pt")
    code, text, error = run("import", file, "-o", tmp_path / "out", "--model", "someone/some-model")
    assert (code, error) == (0, "")
    statistics = ScoreStatistics.load(tmp_path / "out")
    assert statistics.origin.base_model == "someone/some-model"
    ends = f"r is {statistics.mean_abs[0]:.4f} at t = 0 and {statistics.mean_abs[-1]:.4f} at t = 999"
    assert text == f"Imported 1000 times: {ends}. Written to {tmp_path / 'out' / FILE}\n"
    assert run("inspect", tmp_path / "out") == (0, statistics.inspect() + "\n", "")
    assert run("plot", tmp_path / "out", "-o", tmp_path / "r.png")[0] == 0
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    planned(5, 8).save(tmp_path / "out")
    assert "(5, 8 calls) go with" in run("import", file, "-o", tmp_path / "out", "--force")[1]


def test_import_refuses_bad_input_in_one_line(run, tmp_path):
    (tmp_path / "page.pt").write_text("<html>")
    (tmp_path / "notes.txt").write_text("mine")
    good, bare = write_published(tmp_path / "good.pt"), write_published(tmp_path / "bare.pt", content={})
    cases = (
        (tmp_path / "nowhere.pt", "out", "nowhere.pt"),
        (tmp_path, "out", "it is a folder"),
        (tmp_path / "page.pt", "out", "page.pt"),
        (bare, "out", "'score_abs'"),
        (write_published(tmp_path / "module.pt", content=torch.nn.Linear(1, 1)), "out", "Linear"),
        (good, "notes.txt", "notes.txt"),
    )
    for file, output, fragment in cases:
        code, text, error = run("import", file, "-o", tmp_path / output)
        assert (code, text) == (2, ""), fragment
        assert_one_line(error, fragment)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert run("import", good)[0] == 2  # nowhere to write to


def test_a_refused_import_leaves_the_old_file(run, tmp_path):
    old = tiny_record().save(tmp_path / "out").read_bytes()
    file = write_published(tmp_path / "mine.pt", Ls=torch.full((1000,), torch.nan))
    code, _, error = run("import", file, "-o", tmp_path / "out")
    assert code == 2
    assert_one_line(error, "holds a measurement already", "--force")
    assert run("import", file, "-o", tmp_path / "out", "--force")[0] == 2
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == [FILE]
    assert (tmp_path / "out" / FILE).read_bytes() == old


def test_several_guidances_in_one_file_are_read_drawn_and_scheduled(run, models, tmp_path):
    (tmp_path / "prompts.txt").write_text("a red seven")
    command = (
        "calibrate",
        models / "sd",
        "--prompts",
        tmp_path / "prompts.txt",
        "--steps",
        "8",
        *QUICK[:4],
        *QUICK[6:],
    )
    code, text, _ = run(*command, "--guidance-scale", "4,1", "-o", tmp_path / "out")
    assert code == 0 and "at guidance 1, 4. Written to" in text
    assert [one.name for one in (tmp_path / "out").iterdir()] == [FILE]
    statistics = ScoreStatistics.load(tmp_path / "out")
    assert statistics.guidances == (1.0, 4.0)
    assert "at 2 guidances: 1, 4" in run("inspect", tmp_path / "out")[1]
    assert run("plot", tmp_path / "out", "-o", tmp_path / "r.png")[0] == 0
    for scale in (1.0, 2.0, 4.0):
        shown = run("schedule", tmp_path / "out", "--steps", "4", "--guidance-scale", scale)[1]
        assert shown.strip() == schedule_text(statistics.at(scale), 4, "diffusers", "solver").strip()


@pytest.mark.parametrize(
    ("scales", "words"),
    [("1,1", "--guidance-scale must be"), ("0,3", "--guidance-scale must be"), ("x", "--guidance-scale must be")],
)
def test_guidances_that_are_none_are_refused_before_anything_is_loaded(run, tmp_path, scales, words):
    code, _, error = run("calibrate", "no-such/model", "--guidance-scale", scales, "-o", tmp_path / "out")
    assert code == 2
    assert_one_line(error, words)


def test_an_unfinished_one_of_several_guidances_is_neither_lost_nor_taken_for_another(run, models, tmp_path):
    (tmp_path / "prompts.txt").write_text("a red seven")
    command = ("calibrate", models / "sd", "--prompts", tmp_path / "prompts.txt", *QUICK, "-o", tmp_path)
    unfinished = tmp_path / ".score_statistics.checkpoint.g4.safetensors"
    pipe = StableDiffusionPipeline.from_pretrained(models / "sd")
    options = {"num_samples": 3, "batch_size": 2, "num_inference_steps": 3, "trials": 0, "progress": False}
    calibrate(pipe, ["a red seven"], guidance_scale=4.0, checkpoint=unfinished, seed=9, **options)
    code, _, error = run(*command, "--guidance-scale", "1,4")
    assert code == 2
    assert_one_line(error.splitlines(keepends=True)[-1], unfinished.name, "--resume")
    code, _, error = run(*command, "--guidance-scale", "1,4", "--resume")
    assert code == 2
    assert_one_line(error.splitlines(keepends=True)[-1], unfinished.name, "seed was 9, now 0")
    assert run(*command, "--guidance-scale", "1,4", "--seed", "9", "--resume")[0] == 0
    assert not unfinished.exists() and ScoreStatistics.load(tmp_path).guidances == (1.0, 4.0)
