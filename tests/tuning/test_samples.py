"""Which samples are fitted on and which decide: other noise, other prompts, every one once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.collect.calls import PipelineCalls
from diffusers_deis_sn.tuning.arguments import FEWEST
from diffusers_deis_sn.tuning.samples import batches, numbers

COUNTS = st.integers(FEWEST, 40)


@given(COUNTS, COUNTS, st.one_of(st.none(), st.integers(FEWEST, 100)))
def test_both_kinds_have_noise_and_prompts_of_their_own(samples, held_out, prompts):
    fitted, others = numbers(samples, held_out, prompts)
    assert (len(set(fitted)), len(set(others))) == (samples, held_out)
    assert not set(fitted) & set(others)
    if prompts is not None:
        assert not {i % prompts for i in fitted} & {i % prompts for i in others}
        assert len({i % prompts for i in others}) >= min(held_out, prompts // 4, 1)


def calls(prompts: tuple[str, ...] | None = ("a", "b", "c"), takes: str = "generator") -> PipelineCalls:
    return PipelineCalls({"x": 1}, prompts, frozenset(takes.split()), 100)


@given(COUNTS, COUNTS, st.integers(FEWEST, 30), st.integers(1, 9))
def test_batches_draw_all_of_them_in_order(samples, held_out, prompts, batch_size):
    texts = tuple(map(str, range(prompts)))
    for wanted in numbers(samples, held_out, prompts):
        made = [arguments() for arguments in batches(calls(texts), wanted, batch_size)]
        assert all(1 <= len(one["generator"]) <= batch_size for one in made)
        assert [each.initial_seed() - 100 for one in made for each in one["generator"]] == wanted
        assert [text for one in made for text in one["prompt"]] == [texts[i % prompts] for i in wanted]


def test_generators_are_new_in_every_call():
    (one,) = batches(calls(), [0, 1], 8)
    assert [g.get_state().tolist() for g in one()["generator"]] == [g.get_state().tolist() for g in one()["generator"]]
    assert one()["generator"][0] is not one()["generator"][0]


def test_a_pipeline_that_cannot_be_told_how_many_draws_one_at_a_time():
    assert len(batches(calls(None), [0, 1, 2], 8)) == 3
    assert len(batches(calls(None, "generator batch_size"), [0, 1, 2], 8)) == 1
