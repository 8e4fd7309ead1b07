"""How verified seals are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bakeoff import report
from bakeoff.chain import Link
from bakeoff.claims import Claim, Report

_HOLDS = {True: "yes", False: "NO", None: "not checked"}
_SHOWN = 100
"""Characters of a claim's words in a table; the first that fails is said whole below it."""


def data(
    path: Path | None, seal: Report | None, folder: Path | None, chain: tuple[Sequence[Link], Sequence[Claim]] | None
) -> dict[str, Any]:
    """Return what was verified as `--json` prints it."""
    made: dict[str, Any] = {}
    if path is not None and seal is not None:
        made |= {"file": str(path), **_seal(seal)}
    if folder is not None and chain is not None:
        links, claims = chain
        seals = [{"file": str(folder / link.name), **_seal(link.report)} for link in links]
        made["chain"] = {"folder": str(folder), "claims": [asdict(claim) for claim in claims], "seals": seals}
    failed = _failed(made)
    return {"verified": failed is None, "failed": failed, "unchecked": _unchecked(made), **made}


def _seal(seal: Report) -> dict[str, Any]:
    names = ("number", "previous", "payload_sha256", "keyid")
    return {**{name: getattr(seal, name) for name in names}, "claims": [asdict(claim) for claim in seal.claims]}


def _groups(made: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return everything that has a file and claims: the seal, those of the chain, the chain."""
    chain = made.get("chain", {"seals": [], "claims": [], "folder": ""})
    groups = [made] if "file" in made else []
    return [*groups, *chain["seals"], {"file": chain["folder"], "claims": chain["claims"]}]


def _failed(made: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the first claim that does not hold, with its file."""
    for group in _groups(made):
        for claim in group["claims"]:
            if claim["holds"] is False:
                return {"file": group["file"], **claim}
    return None


def _unchecked(made: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return every claim that was not checked, with its file."""
    return [
        {"file": group["file"], "name": claim["name"], "said": claim["said"]}
        for group in _groups(made)
        for claim in group["claims"]
        if claim["holds"] is None
    ]


def text(found: Mapping[str, Any]) -> str:
    """Return what was verified as tables, and the first thing that does not hold."""
    parts = []
    if "file" in found:
        parts.append(_table(_title(found), found["claims"]))
    if "chain" in found:
        chain = found["chain"]
        rows = [(item["number"] or "?", Path(item["file"]).name, _said(item["claims"])) for item in chain["seals"]]
        parts.append(report.table(f"Chain in {chain['folder']}", ("number>", "seal", "claims"), rows).terminal())
        parts.append(_table("The chain", chain["claims"]))
    return "\n".join([*parts, _verdict(found)])


def _title(found: Mapping[str, Any]) -> str:
    number = "Seal" if found["number"] is None else f"Seal {found['number']}"
    return f"{number}, {found['file']}"


def _table(title: str, claims: Sequence[Mapping[str, Any]]) -> str:
    said = [(item, report.line(item["said"])) for item in claims]
    rows = [(item["name"], _HOLDS[item["holds"]], _short(words)) for item, words in said]
    cut = tuple(f"{item['name']}: {words}" for item, words in said if len(words) > _SHOWN and _left(item))
    return report.table(title, ("claim", "holds", "why"), rows, notes=cut).terminal()


def _left(claim: Mapping[str, Any]) -> bool:
    """Return whether a claim, or a part of it, was not checked: why is said whole then."""
    return claim["holds"] is None or (claim["holds"] and "not checked: " in claim["said"])


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _said(claims: Sequence[Mapping[str, Any]]) -> str:
    failed = next((item for item in claims if item["holds"] is False), None)
    if failed is not None:
        return f"NO: {failed['name']}"
    return "hold" + _rest([item["name"] for item in claims if item["holds"] is None])


def _rest(names: Sequence[str]) -> str:
    return f"; not checked: {', '.join(names)}" if names else ""


def _named(found: Mapping[str, Any]) -> list[str]:
    """Return the names of the claims that were not checked; those of a chain with how many of its seals they are of."""
    chain = found.get("chain", {"seals": [], "claims": []})
    own = [item["name"] for item in (*found.get("claims", ()), *chain["claims"]) if item["holds"] is None]
    seals = chain["seals"]
    counted = Counter(item["name"] for seal in seals for item in seal["claims"] if item["holds"] is None)
    return own + [f"{name} ({count} of {len(seals)} seals in the chain)" for name, count in counted.items()]


def _verdict(found: Mapping[str, Any]) -> str:
    failed = found["failed"]
    if failed is None:
        return f"verified{_rest(_named(found))}"
    lines = [f"not verified: {failed['name']} in {failed['file']}: {report.line(failed['said'])}"]
    lines += [f"  {name}: {report.line(failed[name])}" for name in ("path", "expected", "found") if failed[name]]
    return "\n".join(lines)
