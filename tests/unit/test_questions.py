"""Promises of the question files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.adapters.beir import byte_offsets
from bakeoff.adapters.questions import LeftOut, QuestionSet, _resolve, load_questions, require
from bakeoff.errors import InputError
from bakeoff.gold import Folded, Passage, Problem, Question, Span, resolve


class Texts(dict[str, str]):
    """Texts at hand, which count how often each is read."""

    reads = 0

    def items(self) -> Iterator[tuple[str, str]]:  # type: ignore[override]  # a source is asked for no view
        """Yield every document once."""
        self.reads += 1
        yield from super().items()


TEXTS = Texts({
    "d1": "Größe zählt.\nCats purr when\n  they are content. 38 years is old.",
    "d2": "Dogs bark. Cats purr when they are content. Dogs bark. 😀 ends here.",
    "d3": "Nothing of interest.",
})  # fmt: skip


def write(path: Path, *rows: object) -> str:
    """Write *rows* as JSON lines and return the path as a spec."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


def row(question_id: str, *gold: tuple[str, str], **more: object) -> dict[str, object]:
    """Return one question."""
    quotes = [{"doc": doc, "quote": quote} for doc, quote in gold]
    return {"id": question_id, "question": f"What of {question_id}?", "gold": quotes, **more}


def cut(span: Span) -> str:
    """Return the text of *span*."""
    return TEXTS[span.doc_id].encode()[span.start : span.end].decode()


def test_quotes_become_byte_spans_with_alternatives(tmp_path: Path) -> None:
    """A quote is found across line breaks, in bytes, and wherever else it stands."""
    spec = write(
        tmp_path / "q.jsonl",
        row("q1", ("d1", "Cats purr when they are content."), answers=["They purr"], tags=["near"], need="any"),
        row("q2", ("d1", "Größe zählt."), ("d2", "😀 ends")),
        row("q3", tags=["unanswerable"], answers=[]),
    )
    found = load_questions(spec, TEXTS)
    first, second, third = found.questions
    assert [cut(span) for span in first.passages[0].alternatives] == [
        "Cats purr when\n  they are content.",
        "Cats purr when they are content.",
    ]
    assert (first.tags, first.need, first.answerable) == (("near",), "any", True)
    assert first.answers == ("They purr", "Cats purr when they are content.")
    assert second.answers == ("Größe zählt. 😀 ends",)
    assert [cut(passage.alternatives[0]) for passage in second.passages] == ["Größe zählt.", "😀 ends"]
    assert third == Question("q3", "What of q3?", tags=("unanswerable",), answerable=False)
    assert (found.name, found.gold_level, found.left_out) == ("q", "span", ())


def test_a_question_without_its_gold_is_left_out_with_the_reason(tmp_path: Path) -> None:
    """Nothing is guessed: absent documents, absent and ambiguous quotes are named, and the rest is kept."""
    spec = write(
        tmp_path / "q.jsonl",
        row("gone", ("d9", "Dogs bark.")),
        row("reworded", ("d1", "Cats purr if they are content.")),
        row("twice", ("d2", "Dogs bark.")),
        row("half", ("d2", "😀 ends"), ("d3", "Something")),
        row("kept", ("d3", "Nothing")),
    )
    found = load_questions(spec, TEXTS)
    assert [one.question_id for one in found.questions] == ["kept"]
    assert found.left_out == (
        LeftOut("gone", "document d9 is not in the corpus"),
        LeftOut("reworded", "the quote 'Cats purr if they are content.' is not in document d1"),
        LeftOut("twice", "the quote 'Dogs bark.' occurs 2 times in d2"),
        LeftOut("half", "the quote 'Something' is not in document d3"),
    )


words = st.text(st.sampled_from("ab \n\u00a0é"), min_size=1, max_size=12).filter(str.strip)


@given(st.dictionaries(st.sampled_from(["x", "y", "z"]), words), st.sets(st.tuples(st.sampled_from(["x", "y"]), words)))
def test_one_pass_resolves_as_the_rules_say(texts: dict[str, str], pairs: set[tuple[str, str]]) -> None:
    """Reading each document once gives what the pure rules give with all documents at hand."""
    folded = {doc_id: Folded(text) for doc_id, text in texts.items()}
    source = Texts(texts)
    found = _resolve(pairs, source)
    assert source.reads <= 1
    for (doc_id, quote), passage in found.items():
        expected = resolve(quote, doc_id, folded)
        if isinstance(expected, Problem):
            assert isinstance(passage, str)
        else:
            assert expected == passage
    assert found.keys() == pairs


def test_the_digest_is_over_what_was_given(tmp_path: Path) -> None:
    """Neither the corpus nor the spelling of the JSON changes it; one changed word does. Pinned."""
    spec = write(tmp_path / "q.jsonl", row("q1", ("d3", "Nothing")))
    digest = load_questions(spec, TEXTS).digest
    assert digest == "f38de17151cf815aa91a8c623fbb2778de713d76a5697f84903d44faa99db5d6"
    assert digest == load_questions(spec, Texts({"other": "text"})).digest
    spaced = write(
        tmp_path / "r.jsonl", json.dumps(row("q1", ("d3", "Nothing")), indent=None, separators=(" , ", " : ")).encode()
    )
    assert digest == load_questions(spaced, TEXTS).digest
    assert digest != load_questions(write(tmp_path / "q.jsonl", row("q1", ("d3", "nothing"))), TEXTS).digest


def test_every_problem_of_a_file_is_listed(tmp_path: Path) -> None:
    """One error with a line for each thing that is wrong, each with file and line."""
    rows: list[tuple[object, str]] = [
        (row("ok", ("d1", "x")), ""),
        (b'{"id": ', "broken JSON at column 7"),
        (b"[1]", "expected a JSON object, got a list"),
        (row("ok", ("d1", "x")), "the id ok is already that of line 1"),
        ({"id": "a"}, "there is no question, no gold"),
        (row("b", ("d1", "x"), colour=1), "unknown key colour"),
        ({"id": 5, "question": " ", "gold": {}}, "id is a number, expected text"),
        (row("c", tags=["x"]), "gold is empty, but the tag unanswerable is not there"),
        (row("d", ("d1", "x"), tags=["unanswerable"]), "the tag unanswerable is there, but gold is not empty"),
        (row("e", ("d1", "")), "quote of gold is empty"),
        ({"id": "f", "question": "?", "gold": [{"doc": "d1"}]}, 'an entry of gold is not {"doc", "quote"}'),
        (row("g", ("d1", "x"), need="some"), 'need is neither "all" nor "any"'),
        (row("h", ("d1", "x"), answers="x"), "answers is text, expected a list"),
        (row("i", ("d1", "x"), tags=[None]), "an entry of tags is null, expected text"),
        (row("j", ("d1", "x\x00y")), "quote of gold holds a NUL character"),
        (row("k", ("d1", "\ud800")), "holds what has no digest"),
        (b'{"id": "l", "question": "?", "gold": [], "need": NaN}', "holds what has no digest"),
        (b'{"id": "m\xff"}', "not UTF-8 (byte 9 of the line)"),
    ]
    spec = write(tmp_path / "q.jsonl", *(one for one, _ in rows))
    with pytest.raises(InputError, match=r"^\d+ problems in ") as caught:
        load_questions(spec, TEXTS)
    listed = caught.value.problems
    for number, (_, expected) in enumerate(rows, start=1):
        mine = [problem for problem in listed if problem.startswith(f"{spec}:{number}: ")]
        assert bool(mine) == bool(expected), number
        assert not expected or any(expected in problem for problem in mine), mine
    assert caught.value.hint


@pytest.mark.parametrize("sign", ["\n", "\r", "\x1b", "\x85", "\u2028", "\u202e", "\t"])
def test_an_id_that_would_forge_a_line_is_refused(sign: str, tmp_path: Path) -> None:
    """Ids are printed, written to XML and typed: none holds a control character, in either layout."""
    bad = f"q1{sign}verdict: PASS"
    with pytest.raises(InputError, match=r"questions.jsonl:1: id holds a control character") as caught:
        load_questions(write(tmp_path / "questions.jsonl", row(bad, ("a", "x"))), TEXTS)
    assert sign not in str(caught.value).removesuffix(str(tmp_path))
    with pytest.raises(InputError, match="_id holds a control character"):
        load_questions(beir(tmp_path, [query(bad)], "q1\ta\t1\n"), TEXTS)


def test_only_the_first_twenty_problems_are_listed(tmp_path: Path) -> None:
    """A file of another kind does not flood the terminal; a single problem is the message itself."""
    spec = write(tmp_path / "q.jsonl", *[[1]] * 50)
    with pytest.raises(InputError, match=r"^50 problems in .*, the first 20 are shown$") as caught:
        load_questions(spec, TEXTS)
    assert len(caught.value.problems) == 20
    with pytest.raises(InputError, match=r"one\.jsonl:1: there is no gold$"):
        load_questions(write(tmp_path / "one.jsonl", {"id": "a", "question": "?"}), TEXTS)


@pytest.mark.parametrize("spec", ["{}/none.jsonl", "{}", "{}/empty.jsonl", "beir:{}", "beir:{}/nowhere:dev"])
def test_no_questions_is_an_error_with_a_hint(spec: str, tmp_path: Path) -> None:
    """A path to nothing, to a folder or to an empty file is refused."""
    (tmp_path / "empty.jsonl").write_text("\n \n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_questions(spec.format(tmp_path), TEXTS)
    assert caught.value.hint
    with pytest.raises(InputError) as early:
        require(spec.format(tmp_path))
    assert str(caught.value) == str(early.value)


# --- BEIR -------------------------------------------------------------------------------------------------------


def beir(folder: Path, queries: list[object], qrels: str, *, split: str = "test") -> str:
    """Write a set in the BEIR layout and return its spec."""
    write(folder / "queries.jsonl", *queries)
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / f"{split}.tsv").write_text(qrels, encoding="utf-8")
    return f"beir:{folder}"


def query(query_id: str, *spans: list[object], **metadata: object) -> dict[str, object]:
    """Return one query."""
    return {"_id": query_id, "text": f"{query_id}?", "metadata": {"answer_spans": list(spans), **metadata}, "url": "x"}


def test_code_point_spans_become_bytes(tmp_path: Path) -> None:
    """Spans behind wide characters land on the same text; each is a passage of its own; judgements stay beside them."""
    start = TEXTS["d2"].index("ends")
    spec = beir(
        tmp_path / "set",
        [query("q1", ["d1", 6, 12], ["d2", start, start + 4], ["d1", 6, 12], answers=["zählt"]), query("q2")],
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td8\t1\n",
    )
    require(spec)
    found = load_questions(spec, TEXTS)
    first, second = found.questions
    assert [cut(passage.alternatives[0]) for passage in first.passages] == ["zählt.", "ends"]
    assert (first.answers, first.relevant, first.need) == (("zählt",), {"d1": 2, "d2": 0}, "all")
    assert (second.passages, second.relevant) == ((), {"d8": 1})
    assert (found.name, found.gold_level, found.absent_documents) == ("set:test", "mixed", ("d8",))


def test_only_judged_queries_are_asked(tmp_path: Path) -> None:
    """The unjudged are counted, the judged that have no query or no place for their span are named."""
    spec = beir(
        tmp_path / "a:b",
        [query("q1"), query("q2"), query("q3", ["d3", 15, 99], need="any"), query("q4", ["d9", 0, 1])],
        "q1\td1\t1\nq3\td3\t1\nq4\td9\t1\nq5\td1\t1\r\n",
        split="dev",
    )
    found = load_questions(f"{spec}:dev", TEXTS)
    assert ([one.question_id for one in found.questions], found.unjudged) == (["q1"], 1)
    assert found.left_out == (
        LeftOut("q5", "judged, but not in queries.jsonl"),
        LeftOut("q3", "the span 15-99 is no range in the 20 characters of d3"),
        LeftOut("q4", "document d9 is not in the corpus"),
    )
    assert (found.gold_level, found.absent_documents) == ("document", ("d9",))


def answers_of(found: QuestionSet) -> set[tuple[str, ...]]:
    """Return the distinct answers of a set."""
    return {question.answers for question in found.questions}


def test_labels_are_no_answers(tmp_path: Path) -> None:
    """A set whose answers are a few repeated words in capitals has labels; one such answer alone is an answer."""
    labels = [query(f"q{n}", ["d1", 0, 5], answers=[["SUPPORT", "NOT_ENOUGH"][n % 2]]) for n in range(10)]
    qrels = "".join(f"q{n}\td1\t1\n" for n in range(10))
    assert answers_of(load_questions(beir(tmp_path / "l", [*labels], qrels), TEXTS)) == {()}
    single = beir(tmp_path / "s", [query("q0", ["d1", 0, 5], answers=["NATO"])], "q0\td1\t1\n")
    assert answers_of(load_questions(single, TEXTS)) == {("NATO",)}
    without = beir(tmp_path / "w", [query("q0", answers=["a text"])], "q0\td1\t1\n")
    assert answers_of(load_questions(without, TEXTS)) == {()}


def test_every_problem_of_beir_files_is_listed(tmp_path: Path) -> None:
    """Queries and judgements are checked line by line, each with its place."""
    bad: list[object] = [
        query("q1", ["d1", 0]),
        query("q1"),
        query("q2", ["d1", True, 5]),
        {"_id": "q3", "metadata": 4},
        query("q4", need="one", answers=[5]),
    ]
    with pytest.raises(InputError, match=r"^7 problems in "):
        load_questions(beir(tmp_path / "a", bad, "q1\td1\t1\n"), TEXTS)
    qrels = "query-id\tcorpus-id\tscore\nq1 d1 1\nq1\td1\tx\nq1\td1\t1\nq1\td1\t2\n"
    with pytest.raises(InputError, match=r"^3 problems in ") as caught:
        load_questions(beir(tmp_path / "b", [query("q1")], qrels), TEXTS)
    assert [problem.split(": ")[0][-2:] for problem in caught.value.problems] == [":2", ":3", ":5"]
    with pytest.raises(InputError, match="holds no judgements"):
        load_questions(beir(tmp_path / "c", [query("q1")], "query-id\tcorpus-id\tscore\n"), TEXTS)


@given(st.text())
def test_byte_offsets_are_those_of_the_encoding(text: str) -> None:
    """For every code point and the end: the length of the UTF-8 before it."""
    expected = [len(text[:place].encode()) for place in range(len(text) + 1)]
    assert expected == byte_offsets(text).tolist()


def test_a_passage_is_one_of_gold() -> None:
    """What is resolved is the type that the pure rules hold."""
    (found,) = _resolve({("d3", "Nothing")}, TEXTS).values()
    assert found == Passage((Span("d3", 0, 7),))


def test_a_reason_is_given_once(tmp_path: Path) -> None:
    """Two quotes or spans that are lost for the same reason: it is said once."""
    own = write(tmp_path / "q.jsonl", row("q1", ("no", "one"), ("no", "two"), ("d1", "three")))
    said = "document no is not in the corpus"
    assert [LeftOut("q1", f"{said}; the quote 'three' is not in document d1")] == [*load_questions(own, TEXTS).left_out]
    spec = beir(tmp_path / "b", [query("q0", ["no", 0, 5], ["no", 6, 9])], "q0\tno\t1\n")
    assert [LeftOut("q0", said)] == [*load_questions(spec, TEXTS).left_out]
