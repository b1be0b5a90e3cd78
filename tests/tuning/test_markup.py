"""What a notebook shows of tuning."""

from __future__ import annotations

from xml.etree import ElementTree

from diffusers_deis_sn.tuning.outcome import Tuning
from records import tiny_record
from tunings import failed, found


def texts(tuning: Tuning) -> list[str]:
    """What stands in it; it is well-formed."""
    return [one.strip() for one in ElementTree.fromstring(tuning._repr_html_()).itertext() if one.strip()]


def test_it_has_the_table_the_curves_and_what_to_do_next():
    tuning = Tuning(tiny_record(), (found(5), failed(8)))
    said = texts(tuning)
    assert "1 of 2 plans accepted" in said and "no plan: nothing found" in said
    assert set(found(5).cells()) <= set(said)
    assert any(tuning.code() in one and "tuning.statistics.save(" in one for one in said)
    assert tuning._repr_html_().count("<polyline") == 3  # best rival, before, after


def test_each_guidance_has_a_table_and_one_number_of_calls_no_curve():
    shown = Tuning(tiny_record(), (found(5, 3.0), found(5, 7.5)))._repr_html_()
    assert shown.count("<table") == 2 and "guidance 7.5" in shown and "<svg" not in shown


def test_without_a_plan_there_is_nothing_to_do():
    shown = Tuning(tiny_record(), (failed(5), failed(8)))._repr_html_()
    assert "<pre" not in shown and "<script" not in shown
