"""Promises of the readers, offline."""

from __future__ import annotations

# ruff: noqa: RUF001  # full-width marks are what is tested
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.adapters.readers import ExtractiveReader, open_reader
from bakeoff.config import ExtractiveReaderConfig, OpenAIReaderConfig
from bakeoff.errors import ConfigError
from bakeoff.fusion import Hit

DOCUMENTS = {
    "dogs": "Dogs bark at night. Ein Hund, größer als ein Dachs, bellt. A puppy sleeps twenty hours a day.",
    "cats": "Cats purr when they are content. The oldest cat lived for 38 years. Cats hunt mice.",
    "zh": "黑豹队的防守只丢了308分。贾里德在职业生涯中有136次擒杀。卢克贡献了118次擒抱。",
}


def hit(doc_id: str, rank: int, *, start: int = 0, end: int | None = None) -> Hit:
    """Return a chunk of bytes *start* to *end* of a document above."""
    raw = DOCUMENTS[doc_id].encode()
    piece = raw[start:end]
    return Hit(
        chunk_id=f"{doc_id}-{start}",
        fp="fp",
        doc_id=doc_id,
        start=start,
        end=start + len(piece),
        text=piece.decode(),
        token_count=10,
        rank=rank,
        score=1.0 / rank,
        dense_rank=rank,
        dense_score=0.5,
        lexical_rank=None,
        lexical_score=None,
    )


def reader(**settings: float) -> ExtractiveReader:
    """Return an extractive reader with *settings*."""
    opened = open_reader(ExtractiveReaderConfig.model_validate(settings), environ={})
    assert isinstance(opened, ExtractiveReader)
    return opened


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How old did the oldest cat get?", "The oldest cat lived for 38 years."),
        ("How long does a sleeping puppy sleep per day?", "A puppy sleeps twenty hours a day."),
        ("Welcher Hund bellt?", "Ein Hund, größer als ein Dachs, bellt."),
        ("贾里德有多少次擒杀？", "贾里德在职业生涯中有136次擒杀。"),
    ],
)
def test_the_sentence_that_says_most_of_the_question_answers(question: str, expected: str) -> None:
    """The right sentence wins, from any chunk and in any script."""
    answer = reader().read(question, [hit("dogs", 1), hit("cats", 2), hit("zh", 3)])
    assert expected == answer.text
    assert not answer.abstained
    assert answer.error is None


def test_used_spans_are_bytes_of_the_document() -> None:
    """A used span cuts its own text out of the document's bytes, also in a chunk that starts late."""
    start = DOCUMENTS["dogs"].encode().index("größer".encode())
    answer = reader(sentences=3).read("puppy sleeps", [hit("dogs", 1, start=start), hit("cats", 2), hit("zh", 3)])
    assert len(answer.used) == 3
    for span in answer.used:
        assert DOCUMENTS[span.doc_id].encode()[span.start : span.end].decode() == span.text


def test_sentences_come_in_document_order() -> None:
    """Several sentences are joined as they stand in their document, best document first, hard wraps undone."""
    answer = reader(sentences=2).read("cats that hunt, cats that are content", [hit("cats", 1)])
    assert answer.text == "Cats purr when they are content. Cats hunt mice."
    assert [span.start for span in answer.used] == sorted(span.start for span in answer.used)


def test_overlapping_chunks_say_a_sentence_once() -> None:
    """The same place of a document is not used twice, although two chunks hold it."""
    answer = reader(sentences=2).read("oldest cat lived", [hit("cats", 1), hit("cats", 2, start=33)])
    assert len({span.start for span in answer.used}) == 2
    assert answer.text is not None
    assert answer.text.count("oldest") == 1


def test_a_tie_goes_to_the_better_chunk() -> None:
    """Equal sentences: the chunk that retrieval put first is cited."""
    first, second = hit("cats", 1), hit("cats", 2)
    answer = reader().read("oldest cat", [first, second])
    assert answer.used[0].chunk_id == first.chunk_id


@pytest.mark.parametrize("context", [[], [hit("cats", 1)]])
def test_it_abstains_where_too_little_matches(context: Sequence[Hit]) -> None:
    """Without a context, and where no sentence holds the asked share of the question, there is no answer."""
    answer = reader(abstain_below=0.3).read("quantum chromodynamics lattice", context)
    assert (answer.text, answer.used, answer.abstained) == (None, (), True)


def test_it_answers_above_the_share() -> None:
    """The same share lets a matching sentence through."""
    assert not reader(abstain_below=0.3).read("oldest cat", [hit("cats", 1)]).abstained


@given(st.text(max_size=60), st.sampled_from([1, 3, 10]))
def test_any_question_gets_the_same_answer_twice(question: str, count: int) -> None:
    """No question breaks it, equal input gives equal output, and no more sentences are used than asked for."""
    context = [hit("zh", 1), hit("dogs", 2), hit("cats", 3)]
    answer = reader(sentences=count).read(question, context)
    assert answer == reader(sentences=count).read(question, context)
    assert 1 <= len(answer.used) <= count


def test_stop_words_alone_still_answer() -> None:
    """A question of nothing but stop words is answered by them, and an empty one by the best chunk's first sentence."""
    assert reader().read("they are?", [hit("dogs", 1), hit("cats", 2)]).text == "Cats purr when they are content."
    assert reader().read("", [hit("dogs", 1)]).text == "Dogs bark at night."


def test_twelve_long_chunks_are_read_at_once() -> None:
    """Twelve chunks of some 2,000 characters take milliseconds; the bound is generous, a quadratic step breaks it."""
    DOCUMENTS["long"] = DOCUMENTS["cats"] * 24
    context = [hit("long", rank) for rank in range(1, 13)]
    began = time.perf_counter()
    for _ in range(10):
        reader().read("oldest cat", context)
    assert time.perf_counter() - began < 2.0


@pytest.mark.parametrize(
    ("url", "key", "expected"),
    [
        ("http://host:port/v1", None, "no address"),
        ("http://host/v1", "sk-\nsecret", "THE_KEY holds characters"),
        ("http://host/v1", "sk-sécret", "THE_KEY holds characters"),
    ],
)
def test_a_bad_address_or_key_is_refused_at_once(url: str, key: str | None, expected: str) -> None:
    """What can't work is refused before the first question, without showing the secret."""
    cfg = OpenAIReaderConfig(kind="openai", base_url=url, model="m", api_key_env="THE_KEY")
    with pytest.raises(ConfigError, match=expected) as caught:
        open_reader(cfg, environ={} if key is None else {"THE_KEY": key})
    assert "pa55" not in str(caught.value)
    assert "cret" not in str(caught.value)
