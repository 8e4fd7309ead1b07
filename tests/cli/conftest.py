"""A project folder with a database of its own, as a person has it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import support


@dataclass(frozen=True)
class Project:
    """A folder, its database, and what commands in it say."""

    folder: Path
    url: str | None
    env: dict[str, str]

    def run(self, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return support.bakeoff(*arguments, env=self.env | more, cwd=self.folder)

    def json(self, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
        """Run a command with --json; its exit code is *code*, and stdout one object."""
        done = self.run(*arguments, "--json")
        assert code == done.returncode, done.stdout + done.stderr
        return support.one_object(done.stdout)

    def error(self, *arguments: str | Path, code: int, plain: bool = False) -> dict[str, Any]:
        """Run a command that fails: one object; where *plain*, also the same in words on stderr, nothing on stdout."""
        found: dict[str, Any] = self.json(*arguments, code=code)["error"]
        assert {"kind", "message", "hint", "problems", "exit_code"} == found.keys()
        assert code == found["exit_code"]
        assert "\n" not in found["message"]
        if plain:
            said = self.run(*arguments)
            assert (code, "") == (said.returncode, said.stdout), said.stderr
            expected = [f"bakeoff: {found['message']}", *(f"  - {item}" for item in found["problems"])]
            assert [*expected, f"  → {found['hint']}"] == said.stderr.splitlines()
        return found

    def write(self, name: str, value: Any) -> Path:
        """Write a configuration."""
        path = self.folder / name
        path.write_text(value if isinstance(value, str) else yaml.safe_dump(value))
        return path

    def files(self) -> list[str]:
        """Every file below the artifacts."""
        root = self.folder / "home" / "artifacts"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def make(folder: Path, url: str | None) -> Project:
    """A project with a small corpus, questions, and two configurations."""
    documents = support.topics(10, 2500)
    support.write_jsonl(folder / "corpus.jsonl", documents)
    support.write_questions(folder / "questions.jsonl", support.quotes_of(documents, each=2))
    env = support.environment(url, folder / "home", PYTHONPATH=str(Path(support.__file__).parents[1]))
    found = Project(folder, url, env)
    found.write("a.yaml", support.parts())
    found.write("b.yaml", json.loads(json.dumps(support.DEDUP)))
    return found


@pytest.fixture(scope="module")
def project(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project for a module's tests, in the order in which they stand."""
    folder = tmp_path_factory.mktemp("project")
    with support.database(server_url, template, f"cli_{folder.name}_{template}"[:60]) as url:
        yield make(folder, url)


@pytest.fixture
def fresh(database_url: str, tmp_path: Path) -> Project:
    """A project of the test's own, with an empty schema."""
    return make(tmp_path, database_url)
