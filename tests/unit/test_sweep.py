"""Sweep files: every mistake at once, and the same configurations in any order of writing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff import config, sweep
from bakeoff.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CHOICES: dict[str, list[Any]] = {
    "chunking.size": [100, 200, 300],
    "chunking.overlap_ratio": [0.0, 0.25],
    "retrieval.filter.context": [1, 4, 8],
    "prefix.policy": ["none", "A", "B"],
    "reranker": [None, {"model": "a-model"}],
}


def made(**given_keys: Any) -> sweep.Sweep:
    """A sweep file with these keys."""
    return sweep.parse(given_keys, source="s.yaml")


def problems(data: Any) -> list[str]:
    """What `parse` says is wrong with *data*."""
    with pytest.raises(ConfigError) as caught:
        sweep.parse(data, source="s.yaml")
    assert "s.yaml is no sweep that can be run" == str(caught.value)
    return list(caught.value.problems)


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["expected either grid or list"]),
    ({"grid": {"seed": [1]}, "list": [{"seed": 1}]}, ["expected either grid or list"]),
    ({"grid": {}}, ["grid is empty: there is nothing to try"]),
    ({"list": []}, ["list is empty: there is nothing to try"]),
    ({"grid": {"chunking.size": [], "seed": [1]}}, ["grid: chunking.size has no values"]),
    ({"grid": {"chunking..size": [1]}}, ["'chunking..size' is no dotted key"]),
    ({"list": [{"seed": 1}, {"Chunking": {}}]}, ["'Chunking' is no dotted key"]),
    (
        {"grid": {"seed": [1, 2, 3], "chunking.size": [100, 200]}, "max_candidates": 5},
        ["6 configurations, above max_candidates (5)"],
    ),
    ({"list": [{"seed": n} for n in range(65)]}, ["65 configurations, above max_candidates (64)"]),
    ({"grid": {"seed": [1]}, "metrik": "f1", "eta": 1}, ["eta: ", "metrik: unknown key"]),
    ({"grid": {"seed": [1]}, "metric": "speed"}, ["metric: unknown metric 'speed'; known are oracle_retrieval_hit"]),
    ({"grid": {"seed": [1]}, "holdout": 1.5, "alpha": 0.0, "finalists": 0}, ["holdout: ", "finalists: ", "alpha: "]),
    ({"grid": {"seed": 1}, "name": "a b"}, ["name: ", "grid: seed: "]),
]


@pytest.mark.parametrize(("data", "expected"), WRONG)
def test_everything_wrong_with_a_file_is_said_at_once(data: dict[str, Any], expected: list[str]) -> None:
    """Each with its key, in words."""
    found = problems(data)
    assert len(expected) == len(found), found
    assert all(any(said.startswith(begin) for said in found) for begin in expected), found


@pytest.mark.parametrize("data", [None, [], "grid"])
def test_a_file_without_keys_is_refused(data: Any) -> None:
    """An empty file, a list, a word."""
    with pytest.raises(ConfigError, match=r"^s.yaml: expected keys and values$"):
        sweep.parse(data, source="s.yaml")


def test_the_example_shows_every_key_and_can_be_run() -> None:
    """Its base is beside it, all its configurations parse, and no key of a sweep file is missing from it."""
    text = (ROOT / "configs/sweep.yaml").read_text(encoding="utf-8")
    found = sweep.parse(yaml.safe_load(text), source="configs/sweep.yaml")
    base = yaml.safe_load((ROOT / "configs" / str(found.base)).read_text(encoding="utf-8"))
    assert 8 == len(sweep.candidates(found, base, source="configs/sweep.yaml"))
    keys = {field.alias or name for name, field in sweep.Sweep.model_fields.items()}
    assert [] == [key for key in sorted(keys) if f"\n{key}:" not in text and f"# {key}:" not in text]


def test_a_grid_is_every_combination_and_a_list_is_itself() -> None:
    """Three times two, each once; a list's entries as they stand."""
    grid = made(grid={"seed": [1, 2, 3], "chunking.size": [100, 200]})
    assert 6 == len({json.dumps(changes, sort_keys=True) for changes in grid.changes})
    assert ({"seed": 5}, {"chunking.size": 100}) == made(list=[{"seed": 5}, {"chunking.size": 100}]).changes


def test_labels_are_the_changes_in_words() -> None:
    """Sorted keys, JSON values; nothing changed is said too."""
    assert 'chunking.size=100 reranker=null z="ä"' == sweep.label({"z": "ä", "reranker": None, "chunking.size": 100})
    assert "the base as it is" == sweep.label({})


def test_a_dotted_key_changes_one_value_and_a_section_stands_for_all_of_it() -> None:
    """A section that is null or absent is begun; the base itself is not touched; whole sections go first."""
    base = {"chunking": {"size": 100, "overlap_ratio": 0.1}, "reranker": None}
    assert {"chunking": {"size": 50, "overlap_ratio": 0.1}, "reranker": None} == sweep.merged(
        base, {"chunking.size": 50}
    )
    assert {"chunking": {"size": 50}, "reranker": {"depth": 3}, "index": {"hnsw_m": 4}} == sweep.merged(
        base, {"chunking.size": 50, "chunking": {}, "reranker.depth": 3, "index.hnsw_m": 4}
    )
    assert {"chunking": {"size": 100, "overlap_ratio": 0.1}, "reranker": None} == base
    with pytest.raises(ConfigError, match=r"^chunking.size.x: size is not a section$"):
        sweep.merged(base, {"chunking.size.x": 1})


def test_every_broken_configuration_is_named_with_its_combination() -> None:
    """Two of four are broken, one of them twice; a key that leads nowhere is a problem like the others."""
    file = made(list=[{"chunking.size": 4, "seed": -1}, {"seed": 1}, {"chunking.sise": 50}, {"seed.x": 1}])
    with pytest.raises(ConfigError) as caught:
        sweep.candidates(file, {"seed": 3}, source="s.yaml")
    assert "4 problems in the configurations of s.yaml" == str(caught.value)
    first, second, third, last = caught.value.problems
    assert first.startswith("s.yaml [chunking.size=4 seed=-1]: chunking.size: ")
    assert second.startswith("s.yaml [chunking.size=4 seed=-1]: seed: ")
    assert "s.yaml [chunking.sise=50]: chunking.sise: unknown key" == third
    assert "s.yaml [seed.x=1]: seed.x: seed is not a section" == last
    with pytest.raises(ConfigError, match=r"^1 problem in "):
        sweep.candidates(made(list=[{"sead": 1}]), {}, source="s.yaml")


def test_equal_configurations_are_one() -> None:
    """Said twice, said as a default, said as a section: the label is the first of them in the alphabet."""
    file = made(list=[{}, {"chunking": {"size": 200}}, {"seed": 7}, {"seed": 8}])
    found = sweep.candidates(file, {}, source="s.yaml")
    assert ['chunking={"size": 200}', "seed=8"] == [item.label for item in found]
    assert [7, 8] == [item.config.seed for item in found]


@given(st.sets(st.sampled_from(sorted(CHOICES)), min_size=1), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_order_of_a_grid_does_not_matter(keys: set[str], rng: Any) -> None:
    """Keys and values shuffled, or written out as a list: the same candidates with the same labels."""
    grid = {key: CHOICES[key] for key in sorted(keys)}
    shuffled = {key: rng.sample(grid[key], len(grid[key])) for key in rng.sample(sorted(keys), len(keys))}
    straight = made(grid=grid, max_candidates=200)
    written_out = made(list=rng.sample(straight.changes, len(straight.changes)), max_candidates=200)
    expected = sweep.candidates(straight, {}, source="s")
    assert math.prod(len(values) for values in grid.values()) == len(expected)
    assert expected == sweep.candidates(made(grid=shuffled, max_candidates=200), {}, source="s")
    assert expected == sweep.candidates(written_out, {}, source="s")
    assert all(config.parse(item.config.model_dump(mode="json"), source="s") == item.config for item in expected)
