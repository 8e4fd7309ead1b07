"""JSON files as they are found: whole ones are read, cut ones are told from broken ones, by line and byte."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bakeoff.adapters import json_files
from bakeoff.errors import InputError

VALUE = {"a": [1.5e-30, -2, True, False, None, 'é"\\\u2028 😀'], "b": {"c": "d"}, "n": 12}
TEXTS = {
    "plain": json.dumps(VALUE, ensure_ascii=False, indent=1) + "\n",
    "escaped": json.dumps(VALUE, indent=1) + "\n",
    "one line": json.dumps(VALUE),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_whole_file_is_read(name: str, tmp_path: Path) -> None:
    """Whatever its white space and escapes."""
    path = tmp_path / "a.json"
    path.write_text(TEXTS[name], encoding="utf-8")
    assert VALUE == json_files.read(path, what="artifact")


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_cut_at_any_byte_is_cut_short(name: str, tmp_path: Path) -> None:
    """In a string, a number, an escape, a character: each says where it stops, none is called broken."""
    path, whole = tmp_path / "a.json", TEXTS[name].rstrip().encode()
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        line = whole[:size].count(b"\n") + 1
        said = f"{path} is cut short: its JSON stops at line {line}, byte {size}"
        with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
            json_files.read(path, what="artifact")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "FILE is empty"),
        (b'{"a": 1,\n "b": x, "c": 1}', "FILE is not JSON: expecting value at line 2, byte 15"),
        (b'{"a": 1} {', "FILE is not JSON: extra data at line 1, byte 9"),
        (b"# a list\n- a\n- b\n", "FILE is not JSON: expecting value at line 1, byte 0"),
        (b'{"a": "\xff", "b": 1}', "FILE is not UTF-8 (byte 7)"),
        (b'{"a": NaN}', "FILE can't be used as JSON: NaN is no JSON number"),
        (b'{"a": -Infinity}', "FILE can't be used as JSON: -Infinity is no JSON number"),
        (b'{"a": {"b": 1, "b": 2}}', "FILE can't be used as JSON: the key 'b' stands twice in one object"),
        (b"[" * 100_000, "FILE can't be used as JSON: "),
    ],
    ids=["empty", "bare word", "more after its end", "yaml", "latin", "nan", "infinity", "twice", "deep"],
)
def test_a_broken_file_is_refused_by_its_place(data: bytes, said: str, tmp_path: Path) -> None:
    """One line each, and what to do."""
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        json_files.read(path, what="artifact", hint="write it again")
    assert str(caught.value).startswith(said.replace("FILE", str(path)))
    assert "\n" not in str(caught.value)
    assert "write it again" == caught.value.hint


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A missing one by what was wanted, a folder by what it is."""
    with pytest.raises(InputError, match=f"no such artifact: {tmp_path}/none.json"):
        json_files.read(tmp_path / "none.json", what="artifact")
    with pytest.raises(InputError, match=f"can't read {tmp_path}: Is a directory"):
        json_files.read(tmp_path, what="artifact")
