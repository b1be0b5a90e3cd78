"""The folder: what is kept comes back, another comparison is refused, foreign files are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from diffusers_deis_sn.comparison.keeping import Keeper, Run, asked_of, encoded
from diffusers_deis_sn.errors import ComparisonError

ASKED = {"model": "abc", "seed": 0}
CODE = ("from x import Y",)


def test_a_run_comes_back_with_its_pictures(tmp_path) -> None:
    keeper = Keeper(tmp_path, ASKED)
    run = Run("DPM++ 2M", 8, [0.1, 0.2], 1.5, 8, (999.0, 1.0), (14.6, 0.0))
    pictures = {i: Image.new("RGB", (32, 32), (i, 2, 3)) for i in range(2)}
    keeper.keep(run, CODE, pictures)
    again = Keeper(tmp_path, ASKED)
    assert again.run("DPM++ 2M", 8, CODE) == run
    assert again.pictures(run, CODE, 2) == tuple(encoded(one) for one in pictures.values())
    assert again.pictures(run, CODE, 3) == ()


def test_other_steps_names_or_options_are_other_runs(tmp_path) -> None:
    keeper = Keeper(tmp_path, ASKED)
    keeper.keep(Run("DPM++ 2M", 8, [0.1]), CODE, {})
    for name, steps, code in (("DPM++ 2M", 9, CODE), ("DPM 2M", 8, CODE), ("DPM++ 2M", 8, ("other",))):
        assert keeper.run(name, steps, code).drawn == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": 3}'])
def test_a_damaged_run_is_drawn_again(tmp_path, text) -> None:
    keeper = Keeper(tmp_path, ASKED)
    keeper.keep(Run("UniPC", 8, [0.1]), CODE, {})
    (file,) = (tmp_path / "runs").glob("unipc-*.json")
    file.write_text(text)
    assert keeper.run("UniPC", 8, CODE) == Run("UniPC", 8)


def test_ends_come_back(tmp_path) -> None:
    keeper = Keeper(tmp_path, ASKED)
    ends = np.random.default_rng(0).normal(size=(3, 4, 2, 2)).astype(np.float32)
    keeper.keep_converged(100, 5, ends)
    assert np.array_equal(keeper.converged(100, 6), ends[1])
    assert keeper.converged(100, 4) is None and keeper.converged(200, 6) is None


def test_another_comparison_is_refused_and_says_what_differs(tmp_path) -> None:
    Keeper(tmp_path, ASKED).keep(Run("UniPC", 8, [0.1]), CODE, {})
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ComparisonError, match=r"of other seed\. Choose another folder, or replace it with --force"):
        Keeper(tmp_path, ASKED | {"seed": 1})
    fresh = Keeper(tmp_path, ASKED | {"seed": 1}, force=True)
    assert fresh.run("UniPC", 8, CODE).drawn == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_result_whose_runs_are_gone_is_not_overwritten(tmp_path) -> None:
    (tmp_path / "compare.json").write_text("{}")
    with pytest.raises(ComparisonError, match="holds another comparison"):
        Keeper(tmp_path, ASKED)


def test_a_file_is_no_folder(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ComparisonError, match="is a file"):
        asked_of(tmp_path / "file")


def test_small_pictures_are_kept_without_loss_and_large_ones_small() -> None:
    assert encoded(Image.new("RGB", (64, 64)))[:4] == b"\x89PNG"
    assert encoded(Image.new("RGB", (512, 512)))[8:12] == b"WEBP"
