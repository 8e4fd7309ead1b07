"""What a sentence-transformers folder says is done around its weights: pooling, prefixes, lengths.

Callers may rely on: a folder that asks for anything not read here raises ModelError naming it, rather than giving
vectors that are nearly right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bakeoff import canonical
from bakeoff.adapters.model_files import ModelFolder
from bakeoff.errors import ModelError

Pooling = Literal["mean", "cls"]
SUPPORTED = "a BERT encoder with absolute positions and gelu, then mean or cls pooling, then nothing or normalisation"
_PASSAGE_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How token vectors become a text's vector. Vectors are normalised in any case."""

    pooling: Pooling
    query_prefix: str
    passage_prefix: str
    own_max_tokens: int
    positions: int
    dimension: int

    def fold_into(self, weights_sha256: str) -> str:
        """Return the digest that identifies these weights read this way.

        Plain mean pooling without prefixes is the weights' own digest; anything else is hashed together with it, since
        the same file read another way gives other vectors.
        """
        departures = {"pooling": self.pooling, "query": self.query_prefix, "passage": self.passage_prefix}
        if departures == {"pooling": "mean", "query": "", "passage": ""}:
            return weights_sha256
        return canonical.digest({"weights": weights_sha256, **departures})


def read_bert_config(folder: ModelFolder) -> dict[str, Any]:
    """Return config.json of a BERT encoder. Raises ModelError where it is another kind of model."""
    config = folder.read_settings("config.json")
    if not config:
        raise _unsupported(folder, "there is no config.json")
    wanted = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for key, value in wanted.items():
        found = config.get(key, value if key == "position_embedding_type" else None)
        if found != value:
            raise _unsupported(folder, f"{key} is {found}")
    return config


def read_recipe(folder: ModelFolder) -> Recipe:
    """Return what *folder* says. Raises ModelError where it is not a kind that the onnx backend reads."""
    config = read_bert_config(folder)
    modules = folder.read_modules()
    kinds = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) or modules[0].get("path"):
        raise _unsupported(folder, f"its modules are {' + '.join(kinds) or 'none'}")
    settings = folder.read_settings("sentence_bert_config.json")
    if settings.get("do_lower_case"):
        raise _unsupported(folder, "it lower-cases texts outside its tokenizer")
    pooling = _pooling(folder, str(modules[1].get("path", "1_Pooling")))
    query, passage = read_prefixes(folder)
    positions = int(config["max_position_embeddings"])
    own = settings.get("max_seq_length") or folder.read_settings("tokenizer_config.json").get("model_max_length")
    return Recipe(
        pooling=pooling,
        query_prefix=query,
        passage_prefix=passage,
        own_max_tokens=min(int(own or positions), positions),
        positions=positions,
        dimension=int(config["hidden_size"]),
    )


def _unsupported(folder: ModelFolder, why: str) -> ModelError:
    return ModelError(
        f"{folder.name} can't be read by the onnx backend: {why}; supported is {SUPPORTED}",
        hint="set embedder.backend to sentence-transformers",
    )


def _pooling(folder: ModelFolder, path: str) -> Pooling:
    settings = folder.read_settings(f"{path}/config.json")
    mode = settings.get("pooling_mode")
    if mode is None:
        flags = [
            key.removeprefix("pooling_mode_") for key, on in settings.items() if key.startswith("pooling_mode_") and on
        ]
        mode = "+".join(flags)
    pooling: Pooling | None = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}.get(mode)  # type: ignore[assignment]  # mypy widens the dict's literals to str
    if pooling is None or settings.get("include_prompt", True) is False:
        raise _unsupported(folder, f"its pooling is {mode or 'not said'}")
    return pooling


def read_prefixes(folder: ModelFolder) -> tuple[str, str]:
    """Return what is put before a question and before a passage, as the folder's prompts say; mostly empty."""
    settings = folder.read_settings("config_sentence_transformers.json")
    prompts = settings.get("prompts") or {}
    default = prompts.get(settings.get("default_prompt_name") or "", "")
    passage = next((prompts[name] for name in _PASSAGE_PROMPTS if name in prompts), default)
    return str(prompts.get("query", default)), str(passage)
