"""`verify` as a person has it: without database and network, one clear line for everything that is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from bakeoff import asked, canonical
from bakeoff.adapters import keys
from bakeoff.claims import FROM_ROWS
from tests import sealed_files as written
from tests import support
from tests.cli.conftest import Project, make
from tests.command_reference import ROOT
from tests.sealed import private
from tests.support import NOW


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project without any database, with a folder of three seals and the key that signed them."""
    found = make(tmp_path, None)
    written.folder_of(tmp_path, 3)
    path = written.public_key(tmp_path)
    path.write_text(f"# bakeoff key mine, in use at 2026-02-01T00:00:00+00:00\n{path.read_text()}")
    return found


def seal(project: Project, number: int = 1) -> str:
    """The file of a seal."""
    return written.path_of(project.folder, number).name


def shown(text: str) -> str:
    """What was printed, without digests, which differ whenever a message or a figure does."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    lines = re.sub(r"(000001)-[0-9a-f]{12}", r"\1-SEAL", lines)
    return re.sub(r'"[0-9a-f]{40,}', lambda found: '"' + "0" * (len(found[0]) - 1), lines)


def known(project: Project, **options: Any) -> None:
    """Have the project's own ring list the key."""
    ring = keys.Ring(project.folder / "home")
    (ring.folder / "keys.json").unlink(missing_ok=True)
    ring.remember("mine", private().public_key(), now=NOW)
    (entry,) = ring.entries()
    listed = ring.folder / "keys.json"
    listed.write_text(json.dumps({"keys": [entry.body() | options]}))


KEY = ("--public-key", "key-1.pub.pem")


def test_a_healthy_seal(project: Project) -> None:
    """Every claim holds, computed again, too; exit code 0."""
    found = project.json("verify", seal(project), *KEY, "--recompute")
    assert (True, None, 1) == (found["verified"], found["failed"], found["number"])
    held = {item["name"]: item["holds"] for item in found["claims"]}
    assert {"artifacts": None} == {name: holds for name, holds in held.items() if holds is not True}
    assert ["artifacts"] == [item["name"] for item in found["unchecked"]]
    assert {"signature", "rows", "findings again", "routing again"} <= held.keys()


def test_in_words(project: Project, snapshot: SnapshotAssertion) -> None:
    """A table of the claims, and the verdict below it."""
    done = project.run("verify", seal(project), *KEY)
    assert (0, "") == (done.returncode, done.stderr)
    assert snapshot == shown(done.stdout)


def test_what_an_older_seal_does_not_say_is_said_whole(project: Project) -> None:
    """It holds, and below the table stands all that could not be checked of it."""
    folder = ROOT / "artifacts" / "example"
    (path,) = folder.glob("*.seal.json")
    done = project.run("verify", path, "--public-key", folder / "example.pub.pem")
    assert (0, "") == (done.returncode, done.stderr)
    assert f"{asked.MEASURED}{asked.UNASKED}" in " ".join(done.stdout.split())


def test_no_driver_is_loaded(project: Project) -> None:
    """Neither the database's driver nor scipy: the key comes from the project's own ring."""
    known(project)
    line = [sys.executable, "-X", "importtime", "-m", "bakeoff.cli.main", "verify", seal(project)]
    env = {name: value for name, value in project.env.items() if name != "BAKEOFF_DATABASE_URL"}
    done = subprocess.run(line, env=env, cwd=project.folder, capture_output=True, text=True, check=True)
    modules = {row.rsplit("|", 1)[-1].strip() for row in done.stderr.splitlines() if row.startswith("import time:")}
    assert "bakeoff.claims" in modules
    assert set() == {"psycopg", "psycopg_pool", "scipy", "pandas", "httpx", "numpy"} & modules


def test_a_changed_seal(project: Project, snapshot: SnapshotAssertion) -> None:
    """Exit code 1; the first thing that differs with its place, what was expected, what was found."""
    path = project.folder / seal(project)
    rows = path.with_name(path.name.replace(".seal.", ".rows."))
    body = json.loads(rows.read_bytes())
    body["baseline"][2]["f1"] = "0.25"
    rows.write_bytes(canonical.encode(body) + b"\n")
    done = project.run("verify", path.name, *KEY)
    assert (1, "") == (done.returncode, done.stderr)
    assert snapshot == shown(done.stdout)
    found = project.json("verify", path.name, *KEY, code=1)
    place = ".predicate.evaluations.baseline.rows.root"
    assert ("rows", place, False) == (found["failed"]["name"], found["failed"]["path"], found["verified"])


def test_the_chain(project: Project) -> None:
    """All seals of a folder, in order; one that is missing is found."""
    found = project.json("verify", "--chain", ".", *KEY)
    assert [1, 2, 3] == [item["number"] for item in found["chain"]["seals"]]
    both = project.run("verify", seal(project), "--chain", ".", *KEY).stdout
    assert "\nverified; not checked: artifacts, artifacts (3 of 3 seals in the chain)\n" in both
    written.remove(project.folder, 3)
    done = project.run("verify", "--chain", ".", *KEY)
    assert 1 == done.returncode
    assert "not verified: head in .: HEAD.json:.predicate.count: expected 2, found 3" in done.stdout


def test_a_seal_of_the_chain_that_was_changed(project: Project) -> None:
    """It is named before the chain is."""
    path = project.folder / seal(project, 2)
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"AA', 1))
    done = project.run("verify", "--chain", ".", *KEY)
    assert 1 == done.returncode
    assert f"not verified: envelope in {path.name}: " in done.stdout
    assert "NO: envelope" in done.stdout


def test_unknown_key(project: Project) -> None:
    """What to do is said; so it is where the project knows no key at all."""
    written.public_key(project.folder, 2)
    for more in (("--public-key", "key-2.pub.pem"), ()):
        found = project.json("verify", seal(project), *more, code=1)
        assert ".signatures[0].keyid" == found["failed"]["path"]
        assert "give its public half with --public-key FILE" in found["failed"]["said"]


def test_retired_key(project: Project) -> None:
    """A seal from before a key was retired holds, and says so; one from after does not."""
    known(project, retired_at="2027-01-01T00:00:00+00:00")
    found = project.json("verify", seal(project))
    assert "a key that was retired since" in found["claims"][1]["said"]
    known(project, retired_at="2026-01-01T00:00:00+00:00")
    found = project.json("verify", seal(project), code=1)
    assert "key in use" == found["failed"]["name"]


def test_an_exported_key_says_that_it_was_retired(project: Project) -> None:
    """Its line is read back; without one it is not known, and not said to hold."""
    known(project, retired_at="2027-01-01T00:00:00+00:00", name="mine")
    (project.folder / "home" / "keys" / "mine.pub.pem").write_bytes((project.folder / "key-1.pub.pem").read_bytes())
    assert "retired" == project.json("keys", "export", "mine", "--out", "mine.pub.pem", "--json")["status"]
    found = project.json("verify", seal(project), "--chain", ".", "--public-key", "mine.pub.pem")
    assert "by mine (34750f98bd59), a key that was retired since" == found["claims"][1]["said"]
    assert found["chain"]["claims"][-1]["said"].endswith("a key that was retired since")
    known(project, retired_at="2026-01-01T00:00:00+00:00", name="mine")
    project.run("keys", "export", "mine", "--out", "mine.pub.pem")
    assert (
        "key in use" == project.json("verify", seal(project), "--public-key", "mine.pub.pem", code=1)["failed"]["name"]
    )
    written.public_key(project.folder)
    done = project.run("verify", seal(project), *KEY)
    assert (0, True) == (done.returncode, "verified; not checked: key in use, artifacts" in done.stdout)
    project.write("odd.pem", "# bakeoff key mine, retired at noon\n" + (project.folder / "key-1.pub.pem").read_text())
    assert (
        "no time: noon"
        in project.error("verify", seal(project), "--public-key", "odd.pem", code=2, plain=True)["message"]
    )


def test_several_keys_in_a_file(project: Project) -> None:
    """A PEM file may hold more than one public key."""
    both = b"".join(keys.pem_of(private(number).public_key()) for number in (5, 1))
    (project.folder / "all.pem").write_bytes(both)
    assert project.json("verify", seal(project), "--public-key", "all.pem")["verified"]


def test_artifacts(project: Project) -> None:
    """An artifact that is not the one that was sealed is named; those that are not there are said to be unchecked."""
    sample = written.seals(1)[0]
    plan = sample.predicate["plan"]
    path = project.folder / "artifacts" / "plans" / f"{plan['sha256'][:12]}.json"
    path.parent.mkdir(parents=True)
    body = {"plan_sha256": plan["sha256"], "created_at": plan["created_at"], **plan["body"]}
    path.write_text(json.dumps(body, indent=2))
    options = (*KEY, "--artifacts", "artifacts")
    said = project.json("verify", seal(project), *options)["claims"][-1]
    assert ("artifacts", True) == (said["name"], said["holds"])
    assert "1 of 10 hold the content that was sealed; not there, so not checked: evaluations/" in said["said"]
    for text in (json.dumps(body | {"seed": 8}), "[]", "{"):
        path.write_text(text)
        failed = project.json("verify", seal(project), *options, code=1)["failed"]
        assert ("artifacts", True) == (failed["name"], failed["said"].startswith("plans/"))


def test_a_proof_of_one_row(project: Project) -> None:
    """It holds without the other rows; with another row it does not."""
    path = project.write("proof.json", json.dumps(written.proof(written.seals(1)[0], 4), indent=2))
    found = project.json("verify", path.name, *KEY)
    assert ("row", True) == (found["claims"][-1]["name"], found["claims"][-1]["holds"])
    other = written.proof(written.seals(1)[0], 5)["row"]
    path.write_text(json.dumps(written.proof(written.seals(1)[0], 4) | {"row": other}))
    failed = project.json("verify", path.name, *KEY, code=1)["failed"]
    assert ("row", ".row") == (failed["name"], failed["path"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to verify"),
        (("nowhere.seal.json",), "no such seal: nowhere.seal.json"),
        (("folder",), "folder is a folder, not a seal"),
        (("--chain", "folder"), "folder holds no seals"),
        (("--chain", "nowhere"), "no such folder: nowhere"),
        (("SEAL", "--public-key", "nowhere.pem"), "no such public key: nowhere.pem"),
        (("SEAL", "--public-key", "a.yaml"), "a.yaml holds no public key in PEM"),
        (("SEAL", *KEY, "--recompute"), ": nothing can be computed again"),
        (("SEAL", *KEY, "--artifacts", "nowhere"), "no such folder: nowhere"),
        (("--chain", ".", *KEY, "--artifacts", "nowhere"), "no such folder: nowhere"),
        (("proof.json", *KEY, "--recompute"), "a proof shows one row: --recompute needs them all"),
        (("proof.json", *KEY, "--artifacts", "folder"), "a proof shows one row: --artifacts needs them all"),
    ],
    ids=str,
)
def test_what_can_not_be_verified_at_all(project: Project, arguments: tuple[str, ...], said: str) -> None:
    """One line, and what to do; exit code 2."""
    (project.folder / "folder").mkdir()
    project.write("proof.json", json.dumps(written.proof(written.seals(1)[0], 4)))
    for path in project.folder.glob("*.rows.json"):
        path.unlink()
    line = [seal(project) if item == "SEAL" else item for item in arguments]
    found = project.error("verify", *line, code=2, plain=True)
    assert said in found["message"]


def test_a_file_that_is_no_seal(project: Project) -> None:
    """It does not verify: exit code 1, with what is wrong."""
    for text, path in (("", "."), ("{}", ".payload"), ("[1]", "."), ("not JSON", "."), ("[" * 10_000, ".")):
        project.write("x.json", text)
        failed = project.json("verify", "x.json", *KEY, code=1)["failed"]
        assert ("envelope", path) == (failed["name"], failed["path"])
        assert "an envelope has payload, payloadType, signatures" in failed["expected"]


def test_without_the_rows(project: Project) -> None:
    """What rests on them is said to be unchecked; all the rest holds."""
    for path in project.folder.glob("*.rows.json"):
        path.unlink()
    done = project.run("verify", seal(project), *KEY)
    assert 0 == done.returncode
    names = ", ".join([*(name for name, *_ in FROM_ROWS), "artifacts"])
    assert f"verified; not checked: {names}" in done.stdout
    written.write(project.folder, written.seals(2)[1])
    done = project.run("verify", "--chain", ".", *KEY)
    assert (0, 2) == (done.returncode, done.stdout.count("hold; not checked: rows"))
    assert "not checked: rows (2 of 3 seals in the chain), " in done.stdout


def test_rows_that_are_none(project: Project) -> None:
    """A rows file that is broken, or holds something else."""
    path = project.folder / seal(project)
    for data in (b"{", b"[]", b"\xff"):
        path.with_name(path.name.replace(".seal.", ".rows.")).write_bytes(data)
        failed = project.json("verify", path.name, *KEY, code=1)["failed"]
        assert ("rows", "rows:.") == (failed["name"], failed["path"])


@pytest.mark.parametrize("url", ["postgresql://nobody@192.0.2.1:1/none"])
def test_the_database_is_not_asked(project: Project, url: str) -> None:
    """One that can't be reached is no hindrance."""
    known(project)
    done = support.bakeoff(
        "verify", seal(project), env=project.env | {"BAKEOFF_DATABASE_URL": url}, cwd=project.folder, timeout=20
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert ["keys"] == [path.name for path in (project.folder / "home").iterdir()]
