"""Files with a user a line."""

import gzip

import pytest

from curriculum_rec.data.sources import SequencesFile
from curriculum_rec.errors import DataError, DataWarning, OptionError


def pairs(source):
    return source.read().select("user", "item").rows()


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        ("u a b\nv c\n", None),
        ("u\ta  b\n\n  \nv c", None),
        ("\n u a b \n\n\nv c\n\n", None),
        ("u a b\r\nv c\r\n", None),
        (b"\xef\xbb\xbfu a b\nv c\n", None),
        ("u,a,b\nv,c\n", ","),
        ("u\ta\tb\r\n\r\nv\tc\r\n", "\t"),
        ("u::a::b\nv::c\n", "::"),
        ("u|a|b\nv|c", "|"),
    ],
)
def test_sequences_are_read(write, content, separator):
    assert pairs(SequencesFile(write(content), separator)) == [("u", "a"), ("u", "b"), ("v", "c")]


def test_sequences_keep_order_and_text_of_ids(write):
    with pytest.warns(DataWarning, match="'01' and '1' are taken for two ids"):
        read = pairs(SequencesFile(write("9 01 1 01\n10 é\n")))
    assert read == [("9", "01"), ("9", "1"), ("9", "01"), ("10", "é")]


def test_empty_fields_of_sequences_are_missing(write):
    source = SequencesFile(write("u,a,,b\n,c\n"), ",")
    assert pairs(source) == [("u", "a"), ("u", None), ("u", "b"), (None, "c")]


def test_leading_separator_means_a_missing_user(write):
    assert pairs(SequencesFile(write("\ta\tb\nv\tc\n"), "\t"))[0] == (None, "a")


@pytest.mark.parametrize("inside", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_line_ends_end_a_line(write, inside):
    assert [user for user, _ in pairs(SequencesFile(write(f"u,a{inside}b,c\n"), ","))] == ["u", "u"]


@pytest.mark.parametrize(
    ("content", "separator", "words"),
    [
        ("", None, ["is empty"]),
        ("\n  \n\r\n", None, ["is empty"]),
        ("u a\nv\n", None, ["line 2", "names a user but no item", "'v'"]),
        ("\n\nu,a,b\n", None, ["line 3", "data.separator=','"]),
        ("u;a;b\n", None, ["data.separator=';'"]),
        ("u a\nv b\n\nu c\n", None, ["user 'u'", "lines 1 and 4"]),
        (b"u a\nv \xff\n", None, ["line 2", "not UTF-8", "0xff"]),
    ],
)
def test_mistakes_in_sequences(write, content, separator, words):
    path = write(content)
    with pytest.raises(DataError) as caught:
        SequencesFile(path, separator).read()
    assert all(word in str(caught.value) for word in [*words, path])


def test_packed_sequences_are_read(write):
    assert pairs(SequencesFile(write(gzip.compress(b"u a b\nv c\n"), "x.txt.gz"))) == [
        ("u", "a"),
        ("u", "b"),
        ("v", "c"),
    ]


def test_a_separator_is_some_text():
    with pytest.raises(OptionError, match=r"data\.separator=''"):
        SequencesFile("x.txt", "")
