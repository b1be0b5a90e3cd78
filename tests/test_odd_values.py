"""Values of every kind in every argument of what people call: taken, or refused by an error of ours that says the way.

Options and arguments of schedulers are in `schedulers/test_kinds.py`; here are calibrate, tune, compare, statistics and
the command line.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import typer

from comparisons import made
from diffusers_deis_sn import DEISSNScheduler, calibrate
from diffusers_deis_sn.cli.app import app, main
from diffusers_deis_sn.comparison.run import compare
from diffusers_deis_sn.core.value_types import kind_of
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import CalibrationError, DeisSnError, StatisticsError, StatisticsNotFoundError
from diffusers_deis_sn.hub.download import HubOptions
from diffusers_deis_sn.learn.export import learned_sigmas
from diffusers_deis_sn.publish import folder
from diffusers_deis_sn.statistics import ScoreStatistics, StatisticsOrigin
from diffusers_deis_sn.statistics.cost import LocalCost
from diffusers_deis_sn.statistics.trials import Method
from diffusers_deis_sn.tuning.run import tune
from exact_pipelines import ExactPipeline
from oddities import ODD, is_typed
from public_calls import CALLS
from records import costed_record, guided_family
from refusals import refused

RECORD = costed_record(times=6)


LENIENT = {
    ("core.recipe.Recipe.plan", "steps"),  # whole floats, as in `set_timesteps`
    ("core.recipe.Recipe.levels", "steps"),
    ("core.vp.vp_schedule", "rescale_betas_zero_snr"),  # None, a flag of Diffusers that is not set
    ("schedulers._integrator.ExponentialIntegrator.add_noise", "timesteps"),  # numbers, and lists of them
    ("schedulers._stepping.PlannedScheduler.scale_model_input", "timestep"),  # of no use but to EDM models
}
STRANGE = ("pipe", "push_to_hub")  # which end in a stranger's code, as functions do


class BegunError(Exception):
    """The network was called: the arguments were taken."""


def pipeline() -> ExactPipeline:
    def network(*_: Any) -> Any:
        raise BegunError

    return ExactPipeline(network, (1, 4, 4))


SMALL: dict[Callable[..., Any], dict[str, Any]] = {
    calibrate: {"num_samples": 2, "num_inference_steps": 2, "progress": False},
    tune: {"steps": [3], "progress": False},
    compare: {"steps": [3], "progress": False},
}
ARGUMENTS = [
    (function, name)
    for function in SMALL
    for name, one in inspect.signature(function).parameters.items()
    if name != "pipe" and one.kind is not one.VAR_KEYWORD
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logging.getLogger("diffusers_deis_sn").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("diffusers_deis_sn").setLevel(logging.NOTSET)


@pytest.mark.parametrize(("function", "name"), ARGUMENTS, ids=lambda one: getattr(one, "__name__", one))
def test_arguments_of_what_measures(function, name):
    for kind, value in ODD.items():
        try:
            function(pipeline(), **{**SMALL[function], name: value})
        except BegunError:
            pass
        except DeisSnError as error:
            assert is_typed(error), (kind, error)
        except Exception as error:
            assert isinstance(error.__cause__, BegunError) or "BegunError" in str(error), (kind, error)


def taken(action: Callable[[], Any], *others: type[Exception]) -> None:
    """What is given is taken, or refused by an error of ours."""
    try:
        action()
    except DeisSnError as error:
        assert is_typed(error)
    except others:
        pass


@pytest.mark.parametrize("name", [one.name for one in fields(ScoreStatistics)])
def test_a_record(name):
    for value in ODD.values():
        taken(lambda value=value: replace(RECORD, **{name: value}))


@pytest.mark.parametrize("name", [one.name for one in fields(StatisticsOrigin)])
def test_an_origin(name):
    for value in ODD.values():
        taken(lambda value=value: StatisticsOrigin(**{name: value}))


@pytest.mark.parametrize("name", [one.name for one in fields(Method)])
def test_a_recipe(name):
    for value in ODD.values():
        taken(lambda value=value: Method(**{name: value}))


@pytest.mark.parametrize("name", [one.name for one in fields(LocalCost)])
def test_a_cost(name):
    whole = {"values": [1.0], "error": [0.1], "order": 2, "num_samples": 3}
    for value in ODD.values():
        taken(lambda value=value: LocalCost(**whole | {name: value}))


def test_what_is_done_with_a_record(tmp_path):
    family = guided_family(vp_schedule())
    for value in ODD.values():
        taken(lambda value=value: family.at(value))
        taken(lambda value=value: RECORD.cost(value))
        taken(lambda value=value: ScoreStatistics.together(value))
        taken(lambda value=value: ScoreStatistics.load(value))
        taken(lambda value=value: RECORD.with_trials(value))
        taken(lambda value=value: RECORD.with_plans(value))


@pytest.mark.parametrize("name", [one for one in inspect.signature(learned_sigmas).parameters if one != "hub_options"])
def test_a_learned_list(name):
    for value in ODD.values():
        taken(lambda value=value: learned_sigmas(**{"stats": RECORD, "steps": 4, name: value}))


def test_where_a_comparison_is_saved():
    result = made(size=8)
    for value in ODD.values():
        taken(lambda value=value: result.save(value))


@pytest.mark.parametrize("name", ["subfolder", "revision", "no_such_option", *(one.name for one in fields(HubOptions))])
def test_options_of_the_hub(name, tmp_path):
    RECORD.save(tmp_path)
    for value in ODD.values():
        taken(lambda value=value: ScoreStatistics.load(tmp_path, **{name: value}))


def test_a_token_of_another_type_is_not_told():
    refused(StatisticsError, ["`token`", "bytes"], HubOptions.of, {"token": b"hf_secret"})
    with pytest.raises(StatisticsError) as error:
        HubOptions.of({"token": b"hf_secret"})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["", "~nosuch-user/x", "m" * 5000, "a\0b"])
def test_names_that_no_statistics_have(name):
    refused(StatisticsNotFoundError, ["place of statistics"], ScoreStatistics.load, name)


# ------------------------------------------------------------------------------------------------- all that is public


@pytest.fixture
def _prepared(monkeypatch):
    """What the calls need, in the folder that they are made in; figures of folders are not drawn."""
    RECORD.save("record")
    DEISSNScheduler().save_pretrained("scheduler")
    monkeypatch.setattr(folder, "png", lambda figure: b"")
    for name in ("normaliser_figure", "schedule_figure"):
        monkeypatch.setattr(folder, name, lambda statistics: None)


@pytest.mark.usefixtures("_prepared")
@pytest.mark.parametrize("path", CALLS)
def test_every_argument_of_what_is_public(path):
    """Of the type that its annotation says, or refused; what is taken in spite of it is in `LENIENT`."""
    call = CALLS[path]
    known = {
        name: kind_of(_evaluated(call.target, one.annotation))
        for name, one in inspect.signature(call.target).parameters.items()
        if one.kind is not one.VAR_KEYWORD
    }
    assert known.keys() <= call.legal.keys(), f"{known.keys() - call.legal.keys()} of {path} is not in public_calls.py"
    for name, kind in known.items():
        for odd, value in ODD.items():
            if kind.holds(value) and (callable(value) or name in STRANGE):
                continue
            try:
                call.then(call.target(**{**call.legal, name: value}))
            except DeisSnError as error:
                assert is_typed(error), (name, odd, error)
            except call.errors:
                pass
            else:
                assert kind.holds(value) or (path, name) in LENIENT, (name, odd)


def _evaluated(target: Any, annotation: str) -> Any:
    function = target.__init__ if isinstance(target, type) else target
    return eval(annotation, inspect.unwrap(function).__globals__)


# ---------------------------------------------------------------------------------------------------- command line

TEXTS = [value for value in ODD.values() if isinstance(value, str) and value != "~nosuch-user/x"]
TEXTS += ["-1", "0", "2.5", "inf", "nan", "1e999", "9" * 400, "true", "None", "[]", "1,2", "\x1b[31m"]
COMMANDS = typer.main.get_command(app).commands
WITH_VALUES = [
    (name, one.opts[0])
    for name, command in COMMANDS.items()
    for one in command.params
    if one.param_type_name == "option"
    and not one.is_flag
    and name in ("inspect", "schedule", "plot", "card", "package")
]


@pytest.mark.parametrize(("command", "option"), WITH_VALUES)
def test_options_of_the_command_line(command, option, tmp_path, capsys):
    RECORD.save(tmp_path)
    (tmp_path / "scheduler").mkdir()
    for text in TEXTS:
        with pytest.raises(SystemExit) as end:
            main([command, str(tmp_path), f"{option}={text}"])
        _, err = capsys.readouterr()
        assert end.value.code in (0, 2), (text, err)
        assert "Traceback" not in err


def test_notes_that_are_no_text(tmp_path, capsys):
    RECORD.save(tmp_path)
    (tmp_path / "notes.md").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    with pytest.raises(SystemExit) as end:
        main(["card", str(tmp_path), "--notes", str(tmp_path / "notes.md")])
    err = capsys.readouterr().err
    assert end.value.code == 2 and "--notes must be a text in UTF-8" in err and "notes.md" in err


def test_prompts_that_are_no_text(tmp_path):
    (tmp_path / "prompts.txt").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    refused(CalibrationError, ["prompts.txt", "UTF-8"], calibrate, pipeline(), str(tmp_path / "prompts.txt"))
