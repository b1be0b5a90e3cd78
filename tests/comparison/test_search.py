"""The least number of calls: found for any falling error, in few runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.comparison.search import first_as_near


@given(
    order=st.floats(0.5, 6.0),
    scale=st.floats(1.01, 30.0),
    bend=st.floats(0.0, 0.5),
    start=st.integers(1, 20),
)
def test_it_is_the_least_that_is_enough(order: float, scale: float, bend: float, start: int) -> None:
    def error(calls: int) -> float:
        return (start / calls) ** order + bend * (start / calls)

    target = error(start) / scale
    runs: list[int] = []

    def counted(calls: int) -> float:
        runs.append(calls)
        return error(calls)

    known = {calls: error(calls) for calls in (max(1, start // 2), start, start + 2)}
    found = first_as_near(counted, known, target, start, 6 * start)
    enough = [calls for calls in range(start + 1, 6 * start + 1) if error(calls) <= target]
    assert found == (enough[0] if enough else None)
    assert len(runs) == len(set(runs)) and not set(runs) & set(known)
    assert len(runs) <= 12


def test_a_power_law_takes_two_runs() -> None:
    runs: list[int] = []

    def error(calls: int) -> float:
        runs.append(calls)
        return calls**-2.0

    known = {calls: calls**-2.0 for calls in (6, 8, 10)}
    assert first_as_near(error, known, 13.5**-2.0, 8, 48) == 14
    assert runs == [13, 14]


def test_what_is_known_to_be_enough_is_not_run() -> None:
    assert first_as_near(lambda calls: 1 / 0, {8: 0.3, 9: 0.1}, 0.2, 8, 48) == 9
