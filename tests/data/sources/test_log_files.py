"""Logs of servers and applications."""

import gzip

import pytest

from curriculum_rec.data.sources import LogFile, LogTable
from curriculum_rec.errors import CurriculumRecError, DataError, DataWarning, OptionError

# The examples of the Apache HTTP Server's documentation.
COMMON = '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326'
COMBINED = COMMON + ' "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"'
MICROSECONDS = 971_211_336_000_000  # 10 October 2000, 20:55:36 UTC


def test_the_documented_examples_are_read(write):
    assert LogFile(write(COMMON, "x.log"), pattern="common").read().rows() == [
        ("127.0.0.1", "/apache_pb.gif", MICROSECONDS)
    ]
    source = LogFile(write(COMBINED + "\r\n", "x.log"), user="user", others={"status": "code", "agent": "agent"})
    assert source.read().rows() == [("frank", "/apache_pb.gif", MICROSECONDS, 200, "Mozilla/4.08 [en] (Win98; I ;Nav)")]


def test_what_a_server_does_not_know_is_missing(write):
    line = '- - - [10/Oct/2000:13:55:36 +0000] "-" 408 - "-" "say \\"hi\\""'
    table = LogTable(write(line, "x.log")).read_table()
    assert table.frame.row(0, named=True) == {
        "host": None,
        "user": None,
        "time": "10/Oct/2000:13:55:36 +0000",
        "method": None,
        "path": None,
        "protocol": None,
        "status": "408",
        "bytes": None,
        "referrer": None,
        "agent": 'say \\"hi\\"',
    }


OWN = r"^(?P<time>\S+) user=(?P<user>\S+) viewed (?P<item>\S+)( fast)?$"


def test_own_patterns_and_packed_logs(write):
    lines = "2024-01-02T00:00:00Z user=7 viewed a fast\n\n2024-01-02T00:00:01Z user=8 viewed b\n"
    source = LogFile(
        write(gzip.compress(lines.encode()), "x.log.gz"),
        pattern=OWN,
        user="user",
        item="item",
        timestamp="time",
        timestamp_format="iso8601",
    )
    begin = 1_704_153_600_000_000
    assert source.read().rows() == [("7", "a", begin), ("8", "b", begin + 1_000_000)]


def test_lines_that_do_not_match_are_counted_and_told(write):
    path = write(f"{COMMON}\nstarted\n\n{COMMON}\nstopped\n", "x.log")
    with pytest.raises(DataError, match=r"line 2 of .*: 'started'; 2 of 4 lines do not: .* data\.max_unmatched=2"):
        LogFile(path, pattern="common").read()
    with pytest.raises(DataError, match="2 of 4"):
        LogFile(path, pattern="common", max_unmatched=1).read()
    with pytest.warns(DataWarning, match=r"line 2 of .*: 'started'; 2 of 4 lines do not and are left out"):
        assert len(LogFile(path, pattern="common", max_unmatched=2).read()) == 2


def test_a_mistake_in_a_line_names_the_line_of_the_file(write):
    bad = COMMON.replace("10/Oct", "41/Oct")
    with pytest.warns(DataWarning), pytest.raises(DataError, match=r"line 3 of .*column 'time' holds '41/Oct/2000"):
        LogFile(write(f"{COMMON}\nstarted\n{bad}\n", "x.log"), pattern="common", max_unmatched=1).read()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pattern": "(?P<user>"}, "is no regular expression"),
        ({"pattern": "combine"}, "names no group"),
        ({"pattern": "(a)(b)"}, "names no group"),
        ({"max_unmatched": -1}, "at least 0"),
        (
            {"pattern": "common", "user": "agent"},
            r"data.pattern for .* has no column 'agent' \(data.user\).*'host', 'user'",
        ),
    ],
)
def test_mistakes_in_options(write, options, words):
    with pytest.raises(CurriculumRecError, match=words) as caught:
        LogFile(write(COMMON, "x.log"), **options).read()
    assert len(str(caught.value).splitlines()) == 1


def test_nothing_matches(write):
    with pytest.warns(DataWarning), pytest.raises(DataError, match="has no rows"):
        LogFile(write("x\n", "x.log"), max_unmatched=5).read()
    with pytest.raises(DataError, match="changed since"):
        LogFile(write("x\n", "x.log"), sha256="0" * 64).read()
    with pytest.raises(OptionError):
        LogFile(write("x\n", "x.log"), pattern="[")
