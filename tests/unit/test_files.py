"""Files: whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bakeoff.adapters import files, yaml_files
from bakeoff.errors import InputError, OutsideError


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    """Missing folders are made; an old file is replaced; nothing else is left; rights are the usual ones."""
    path = tmp_path / "a" / "b" / "c.txt"
    for data in (b"old and longer", b"new"):
        assert path == files.write(path, data)
        assert data == path.read_bytes()
    assert [path] == list(path.parent.iterdir())
    umask = os.umask(0)
    os.umask(umask)
    assert 0o666 & ~umask == stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failing_write_leaves_the_old_file(tmp_path: Path, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error at the last moment leaves the old file whole and no half of a new one beside it."""
    path = files.write(tmp_path / "x.txt", b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if function == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutsideError, match=r"can't write .*x.txt: No space left on device") as caught:
        files.write(path, b"new")
    assert "disk space" in str(caught.value.hint)
    assert 5 == caught.value.exit_code
    assert (b"old", [path]) == (path.read_bytes(), list(tmp_path.iterdir()))


LIMITED = """
import resource, signal, sys
from pathlib import Path
from bakeoff.adapters import files
from bakeoff.errors import OutsideError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    files.write(Path(sys.argv[1]), b"x" * 5000)
except OutsideError as error:
    print(error)
"""


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """Where the system refuses the bytes themselves, the old file stays and the message says why."""
    path = files.write(tmp_path / "x.txt", b"old")
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True)
    assert f"can't write {path}: File too large\n" == done.stdout
    assert (b"old", [path]) == (path.read_bytes(), list(tmp_path.iterdir()))


def test_kill_in_the_middle_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt while writing leaves the old file, and cleans up."""
    path = files.write(tmp_path / "x.txt", b"old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write(path, b"new")
    assert (b"old", [path]) == (path.read_bytes(), list(tmp_path.iterdir()))


def test_path_below_a_file_is_refused(tmp_path: Path) -> None:
    """A folder that can't be made is an error in words."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutsideError, match="can't write"):
        files.write(tmp_path / "file" / "x.txt", b"new")


def test_json_is_readable_and_strict(tmp_path: Path) -> None:
    """Indented UTF-8 with a final newline; NaN is refused, since no other reader takes it."""
    path = files.write_json(tmp_path / "x.json", {"é": [1, None]})
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n}\n")
    assert "é" in text
    assert {"é": [1, None]} == json.loads(text)
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "y.json", {"x": float("nan")})
    assert not (tmp_path / "y.json").exists()


def test_reading_says_what_is_wrong(tmp_path: Path) -> None:
    """Missing, not UTF-8, a folder, broken YAML: each is named with its place."""
    (tmp_path / "latin.yaml").write_bytes(b"a: caf\xe9")
    (tmp_path / "broken.yaml").write_text("a: 1\nb: [2\nc: 3\n")
    (tmp_path / "control.yaml").write_text("a: \x00")
    cases = {
        "none.yaml": "no such configuration: ",
        "latin.yaml": r"latin.yaml is not UTF-8 \(byte 6\)",
        ".": "can't read",
        "broken.yaml": r"broken.yaml:3:\d+: ",
        "control.yaml": r"control.yaml",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            yaml_files.read(tmp_path / name, what="configuration")


def test_yaml_builds_no_objects(tmp_path: Path) -> None:
    """A configuration file can't run code."""
    (tmp_path / "x.yaml").write_text("!!python/object/apply:os.system ['echo hacked']")
    with pytest.raises(InputError, match="could not determine a constructor"):
        yaml_files.read(tmp_path / "x.yaml", what="configuration")


@pytest.mark.parametrize(("text", "place"), [("a: 1\nb: 2\na: 3\n", "3:1"), ("x:\n  k: 1\n  k: 1\n", "3:3")])
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str, place: str) -> None:
    """The second one never wins without a word."""
    path = tmp_path / "twice.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"twice.yaml:{place}: the key '[ak]' stands twice"):
        yaml_files.read(path, what="configuration")


def test_rows_are_written_a_line_each(tmp_path: Path) -> None:
    """The value that is read is the one that was written, and each row stands on a line of its own."""
    value = {"a": 1, "rows": [{"x": "é"}, {"x": [1, {"y": None}]}], "b": {"c": []}}
    path = files.write_json(tmp_path / "x.json", value, rows="rows")
    assert value == json.loads(path.read_text())
    assert '    {"x": "é"},' in path.read_text().splitlines()
    assert {"a": 1, "rows": []} == json.loads(files.write_json(path, {"a": 1, "rows": []}, rows="rows").read_text())


def test_a_place_that_can_be_written_to_is_left_as_it_was(tmp_path: Path) -> None:
    """Nothing is made, nothing is left, an old file stays; None asks for nothing."""
    old = files.write(tmp_path / "old.txt", b"old")
    files.require_writable(old, tmp_path / "new" / "deep" / "x.txt", None)
    files.require_folder(tmp_path / "more" / "folders")
    files.require_folder(tmp_path)
    assert ([old], b"old") == (list(tmp_path.iterdir()), old.read_bytes())


def test_a_place_that_can_not_be_written_to_is_refused_before_the_work(tmp_path: Path) -> None:
    """A file where a folder is wanted, a folder where a file is, a name that is too long: named, with the reason."""
    file = files.write(tmp_path / "file", b"x")
    for wrong, why in (
        (file / "x.txt", "Not a directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(OutsideError, match=f"^can't write .*: {why}$"):
            files.require_writable(tmp_path / "fine.txt", wrong)
    with pytest.raises(OutsideError, match=r"can't write .*file: Not a directory"):
        files.require_folder(file)
    assert [file] == list(tmp_path.iterdir())


def test_a_full_disk_is_seen_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is tried with a few bytes, which are removed."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutsideError, match="No space left on device"):
        files.require_folder(tmp_path / "artifacts")
    assert [] == list(tmp_path.iterdir())
