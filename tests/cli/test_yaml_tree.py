import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gogeta.cli.yaml_tree import MAX_BYTES, MAX_DEPTH, YamlTree
from gogeta.domain.errors import InvalidInputError


def problems(content: bytes | str) -> list[tuple[str, int | None, int | None]]:
    """What is wrong with it: message, line, column."""
    with pytest.raises(InvalidInputError) as error:
        YamlTree(content.encode() if isinstance(content, str) else content, what="file")
    return [(problem.message, problem.line, problem.column) for problem in error.value.problems]


def test_plain_data_is_what_the_safe_loader_makes_of_it() -> None:
    text = """
    words: [a, 'b', "c"]
    numbers: {int: 1, float: 1.5, hex: 0x10, none: ~, yes: true, date: 2026-01-31}
    block: |
      two
      lines
    """
    assert YamlTree(text.encode(), what="file").data == yaml.safe_load(text)


def test_places_are_those_of_keys_and_items() -> None:
    tree = YamlTree(b"a:\n  - x\n  - b: 1\n    c:\n      - 2\n", what="file")
    assert tree.place(("a",)) == (1, 1)
    assert tree.place(("a", 0)) == (2, 5)
    assert tree.place(("a", 1, "c")) == (4, 5)
    assert tree.place(("a", 1, "c", 0)) == (5, 9)
    assert tree.place(("a", 1, "missing", "deeper")) == (3, 5)
    assert tree.place(()) == (1, 1)


def test_anchors_aliases_and_merges_work() -> None:
    tree = YamlTree(b"base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\ntwo: *b\nthree: {<<: [*b, {z: 4}]}\n", what="file")
    assert tree.data == {
        "base": {"x": 1, "y": 2},
        "one": {"x": 1, "y": 3},
        "two": {"x": 1, "y": 2},
        "three": {"x": 1, "y": 2, "z": 4},
    }


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' is there already, in line 1", 3),
        ("a:\n  b: 1\n  b: 2\n", "'b' is there already, in line 2", 3),
        ("a: !!python/object/apply:os.system [ls]\n", "is not accepted here", 1),
        ("a: !custom 1\n", "the tag '!custom' is not accepted here", 1),
        ("a: 1\n---\nb: 2\n", "expected one document", 2),
        ("a: *nowhere\n", "there is no anchor &nowhere before this alias", 1),
        ("a: &a [*a]\n", "there is no anchor &a", 1),
        ("? [1, 2]\n: 3\n", "expected text as a key", 1),
        ("a: 1\n  b: 2\n", "is not YAML: ", 2),
        ("a: [1, 2\nb: 3\n", "is not YAML: ", 2),
        ("a:\n\t- 1\n", "is not YAML: ", 2),
        ("a: 1\nb: \x07\n", "control characters are not allowed", 2),
        (b"a: 1\nb: \xff\n", "is not UTF-8 at byte 8", 2),
        ("a: 2026-13-45\n", "is not a valid timestamp", 1),
        ("a: " + ":".join(["59"] * 5000) + "\n", "is not a valid int", 1),
        ("<<: 1\n", "expected a mapping to merge", 1),
    ],
)
def test_what_is_refused_is_refused_with_its_line(content: bytes | str, message: str, line: int) -> None:
    found = problems(content)
    assert [(message in told, at) for told, at, _ in found] == [(True, line)]


def test_several_problems_are_told_together() -> None:
    assert [line for _, line, _ in problems("a: 1\na: 2\nb: !x 1\nb: 2\n")] == [2, 3, 4]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_ends_early(opening: str) -> None:
    found = problems(opening * 100_000)
    # PyYAML has a limit of its own for brackets since 6.0.4, and meets it first.
    assert f"nested deeper than {MAX_DEPTH} levels" in found[0][0] or "exceeded maximum nesting depth" in found[0][0]


def test_aliases_cannot_grow_a_small_file_into_a_large_memory() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12)]
    began = time.monotonic()
    assert "values once its aliases are expanded" in problems("\n".join(lines))[0][0]
    assert time.monotonic() - began < 20


def test_merges_cannot_either() -> None:
    base = "b: &b {" + ", ".join(f"k{n}: 1" for n in range(3000)) + "}\n"
    assert "merges more than" in problems(base + "".join(f"m{n}: {{<<: *b}}\n" for n in range(1000)))[0][0]


def test_a_file_that_is_too_large_is_refused() -> None:
    assert "larger than" in problems(b"#" * (MAX_BYTES + 1))[0][0]


def test_an_empty_document_is_nothing() -> None:
    tree = YamlTree(b"# only a comment\n", what="file")
    assert tree.data is None
    assert tree.place(("a",)) is None


# PyYAML itself does not read every line break it writes (U+0085).
words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")))
json_like: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(json_like)
def test_whatever_yaml_writes_is_read_back(data: Any) -> None:  # noqa: ANN401 - any data
    assert YamlTree(yaml.safe_dump(data, allow_unicode=True).encode(), what="file").data == data


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text(alphabet="[]{}:,-&*!|>'\"#%@`?<= \n\tab01.~", max_size=80).map(str.encode))
def test_garbage_is_read_or_refused_and_nothing_else(content: bytes) -> None:
    try:
        YamlTree(content, what="file")
    except InvalidInputError as error:
        assert error.problems  # noqa: PT017 - refusing is allowed, and not demanded
