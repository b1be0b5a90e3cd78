"""`deis-sn serve`: what is refused before a model is loaded, and what is shown to whom."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from comparisons import statistics


@pytest.fixture
def shown(monkeypatch):
    """What is asked of the page, in the place of one."""
    asked = SimpleNamespace(blocked=False)

    def serve(studio, host, port, browse):
        asked.studio, asked.host, asked.port, asked.browse = studio, host, port, browse
        return SimpleNamespace(block_thread=lambda: setattr(asked, "blocked", True))

    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace(__version__="6.31.0"))
    monkeypatch.setattr("diffusers_deis_sn.web.app.serve", serve)
    return asked


def test_it_listens_to_this_machine_alone(run, shown) -> None:
    code, said, _ = run("serve", "user/one")
    assert code == 0 and said == "http://127.0.0.1:7860  Ctrl-C ends it.\n" and shown.blocked
    assert (shown.host, shown.port, shown.browse) == ("127.0.0.1", 7860, False)


def test_who_lets_others_in_is_told_so(run, shown) -> None:
    code, said, _ = run("serve", "user/one", "--host", "0.0.0.0", "--port", 7000, "--open")
    assert code == 0 and "there is no password" in said and (shown.port, shown.browse) == (7000, True)


def test_statistics_go_with_the_models_in_their_order(run, shown, tmp_path) -> None:
    for name in "ab":
        statistics().with_origin(base_model=name).save(tmp_path / name)
    arguments = ("user/one", "user/two", "--stats", tmp_path / "a", "--stats", tmp_path / "b", "--arg", "height=8")
    code, _, error = run("serve", *arguments)
    assert (code, error) == (0, "") and shown.studio.models == ("user/one", "user/two")
    offers = shown.studio._offers.values()
    assert [(one.statistics.origin.base_model, one.place) for one in offers] == [
        ("a", str(tmp_path / "a")),
        ("b", str(tmp_path / "b")),
    ]
    assert all(one.options == {"height": 8} for one in offers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("user/one", "user/two", "--stats", "x"), "--stats must be given once for each of the 2 models, got 1."),
        (("user/one", "--stats", "nowhere/at-all/there"), "nowhere"),
        (("user/one", "--arg", "height"), "--arg must be NAME=VALUE"),
    ],
)
def test_bad_input_is_one_line(run, shown, arguments, message) -> None:
    code, said, error = run("serve", *arguments)
    assert (code, said) == (2, "") and message in error and error.count("\n") == 1


def test_without_gradio_the_remedy_is_one_line(run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, said, error = run("serve", "user/one")
    assert (code, said) == (2, "")
    assert error == 'deis-sn: The page needs Gradio. Install it with: pip install "diffusers-deis-sn[web]".\n'
