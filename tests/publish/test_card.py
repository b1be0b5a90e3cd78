"""The card of statistics: what the Hub reads of it, what people read, and code that is code."""

from __future__ import annotations

import re

import pytest

from diffusers_deis_sn.publish.card import CAPTIONS, card
from records import costed_record, gaussian_record

RECORD = gaussian_record().with_origin(base_model="someone/model", licence="MIT", guidance_scale=7.5)
COSTED = costed_record().with_origin(base_model="someone/model")


def metadata(text: str):
    from huggingface_hub import ModelCard

    return ModelCard(text).data


def test_the_card_says_what_the_hub_reads():
    data = metadata(card(RECORD, "user/repo"))
    assert (data.base_model, data.license, data.library_name) == ("someone/model", "mit", "diffusers-deis-sn")
    assert data.tags == ["score-statistics", "deis-sn", "diffusers"]
    assert data.pipeline_tag is None


@pytest.mark.parametrize(
    ("licence", "told", "name"),
    [("MIT", "mit", None), (None, None, None), ("My own, for research", "other", "My own, for research")],
)
def test_the_licence_is_that_of_the_record(licence, told, name):
    data = metadata(card(RECORD.with_origin(licence=licence), "user/repo"))
    assert (data.license, data.to_dict().get("license_name")) == (told, name)
    assert ("not recorded" in card(RECORD.with_origin(licence=licence), "user/repo")) == (licence is None)


@pytest.mark.parametrize("model", [None, "a-local-folder", "user/repo@main"])
def test_only_a_model_on_the_hub_is_linked(model):
    text = card(RECORD.with_origin(base_model=model), "user/repo")
    assert metadata(text).base_model is None
    assert (model or "an unnamed model") in text


def test_the_card_shows_figures_use_and_measured_table():
    text = card(COSTED, "user/repo", figures=list(CAPTIONS), notes="By hand.")
    assert COSTED.inspect() in text
    assert 'stats="user/repo"' in text
    assert 'from_pretrained("someone/model")' in text
    for figure in CAPTIONS:
        assert f"]({figure})" in text
    assert "ScoreOptimalScheduler" in text
    assert text.endswith("By hand.\n")
    assert "ScoreOptimalScheduler" not in card(RECORD, "user/repo")


def test_the_example_of_the_card_is_code():
    example = re.search(r"```python\n(.*?)```", card(RECORD, "user/repo"), re.DOTALL)
    compile(example[1], "card", "exec")
