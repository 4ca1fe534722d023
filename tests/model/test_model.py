"""The model has every property, and loses exactly the named ones when one guard is removed."""

import re

import pytest

from tests.model import spin
from tests.model.scenarios import SCENARIOS, WEAKENINGS

pytestmark = pytest.mark.usefixtures("_spin")


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_property_holds(name, tmp_path):
    scenario = SCENARIOS[name]

    assert spin.check(tmp_path, scenario.defines, scenario.claim).broken == frozenset()


@pytest.mark.parametrize("word", WEAKENINGS)
def test_without_a_guard_exactly_its_properties_break(word, tmp_path):
    weakening = WEAKENINGS[word]
    scenario = SCENARIOS[weakening.scenario]
    assert weakening.breaks <= set(scenario.properties)

    found = spin.check(tmp_path, (*scenario.defines, f"WEAKEN_{word}"), scenario.claim)

    assert found.broken == weakening.breaks


def test_ci_cannot_skip_the_model(monkeypatch):
    monkeypatch.setenv(spin.REQUIRED, "1")
    monkeypatch.setenv("PATH", "")

    with pytest.raises(RuntimeError, match="not installed"):
        spin.is_installed()


def test_each_guard_that_the_model_can_lose_is_in_the_table():
    model = "".join((spin.HERE / name).read_text() for name in ("rows.pml", "system.pml"))

    assert set(re.findall(r"WEAKEN_([A-Z_]+)", model)) == set(WEAKENINGS)


def test_every_property_is_broken_by_some_weakening():
    properties = {each for scenario in SCENARIOS.values() for each in scenario.properties}
    broken = {each for weakening in WEAKENINGS.values() for each in weakening.breaks}

    # With fewer faults G1 is about delivery; each guard that it needs is one of another property.
    assert properties - broken == {"G1_delivered_if_all_is_well"}
