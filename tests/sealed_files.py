"""Folders of seals, as `bakeoff seal` leaves them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from bakeoff import canonical, dsse, evidence, merkle
from bakeoff.adapters import keys, sealed_files
from bakeoff.evidence import Subject
from tests import sealed
from tests.sealed import Sample, file_of, private, ring

KEYS = ring(private())


@cache
def _chain(count: int) -> tuple[Sample, ...]:
    found: list[Sample] = []
    previous = None
    for number in range(1, count + 1):
        made = sealed.made(questions=12, outcomes=20, seed=number, number=number, previous=previous)
        previous = canonical.sha256_hex(made.payload())
        found.append(made)
    return tuple(found)


def seals(count: int) -> list[Sample]:
    """So many seals, each naming the one before."""
    return list(_chain(count))


def name_of(sample: Sample) -> str:
    """The name of a seal's file."""
    return f"{sample.predicate['number']:06d}-{canonical.sha256_hex(sample.payload())[:12]}.seal.json"


def write(folder: Path, sample: Sample) -> Path:
    """Write a seal and its rows."""
    path = folder / name_of(sample)
    path.write_bytes(sample.file())
    sealed_files.rows_beside(path).write_bytes(sample.rows_file)
    return path


def write_head(folder: Path, found: list[Sample], *, key: int = 1) -> None:
    """Write the head of a chain that ends with the last of *found*."""
    last = found[-1]
    sha256 = canonical.sha256_hex(last.payload())
    predicate = {"count": len(found), "sha256": sha256, "previous": last.predicate["previous"]}
    subject = Subject(name_of(last), canonical.sha256_hex(last.file()))
    envelope = dsse.sign(evidence.statement([subject], predicate, kind=evidence.HEAD), private(key))
    (folder / "HEAD.json").write_bytes(file_of(envelope))


def folder_of(folder: Path, count: int) -> list[Path]:
    """Write so many seals and their head."""
    found = [write(folder, sample) for sample in seals(count)]
    write_head(folder, seals(count))
    return found


def path_of(folder: Path, number: int) -> Path:
    """The file of one of them."""
    (found,) = folder.glob(f"{number:06d}-*.seal.json")
    return found


def remove(folder: Path, number: int) -> None:
    """Take a seal away."""
    path_of(folder, number).unlink()


def public_key(folder: Path, number: int = 1) -> Path:
    """Write a public key."""
    path = folder / f"key-{number}.pub.pem"
    path.write_bytes(keys.pem_of(private(number).public_key()))
    return path


def proof(sample: Sample, index: int, *, arm: str = "baseline") -> dict[str, Any]:
    """What discloses one row."""
    lines = sample.written[arm]
    path = [digest.hex() for digest in merkle.path([canonical.encode(line) for line in lines], index)]
    found = {"arm": arm, "index": index, "row": lines[index], "path": path}
    return {"kind": "proof", **found, "envelope": sample.envelope().body()}
