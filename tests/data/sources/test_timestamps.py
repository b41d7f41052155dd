"""Times: of every unit, zone and way to write them, against Python's own datetime."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.data.sources.contract import Table, by_row
from curriculum_rec.data.sources.timestamps import parse_times
from curriculum_rec.errors import CurriculumRecError, DataError, OptionError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parsed(values, timestamp_format="auto", time_zone=None, dtype=None):
    table = Table(pl.DataFrame({"t": pl.Series(values, dtype=dtype, strict=False)}), "x.csv", typed=False, place=by_row)
    return parse_times(table, "t", timestamp_format=timestamp_format, time_zone=time_zone)


def micro(moment):
    return (moment - EPOCH) // timedelta(microseconds=1)


MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    st.lists(st.tuples(MOMENTS, OFFSETS, st.sampled_from("T "), st.sampled_from(["auto", "microseconds"])), min_size=1)
)
def test_iso_8601_against_datetime(rows):
    texts = [moment.astimezone(zone).isoformat(sep=sep, timespec=spec) for moment, zone, sep, spec in rows]
    assert parsed(texts, "iso8601").to_list() == [micro(moment) for moment, *_ in rows]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2024-02-29T23:59", datetime(2024, 2, 29, 23, 59, tzinfo=UTC)),
        ("2024-02-29T23:59:58,5Z", datetime(2024, 2, 29, 23, 59, 58, 500_000, tzinfo=UTC)),
        ("2024-02-29 23:59:58+05", datetime(2024, 2, 29, 18, 59, 58, tzinfo=UTC)),
        ("2024-02-29 23:59:58 -0530", datetime(2024, 3, 1, 5, 29, 58, tzinfo=UTC)),
        (" 1970-01-01T00:00:00z ", EPOCH),
        ("2262-04-12T00:00:00Z", datetime(2262, 4, 12, tzinfo=UTC)),
        ("1969-12-31T23:59:59.999999Z", EPOCH - timedelta(microseconds=1)),
    ],
)
@pytest.mark.parametrize("timestamp_format", ["auto", "iso8601"])
def test_ways_to_write_a_moment(text, moment, timestamp_format):
    assert parsed([None, "", text], timestamp_format).to_list() == [None, None, micro(moment)]


@pytest.mark.parametrize(
    ("values", "timestamp_format", "expected"),
    [
        (["1700000000", "0"], "s", [1_700_000_000_000_000, 0]),
        (["1700000000.25"], "s", [1_700_000_000_250_000]),
        ([1_700_000_000_123], "ms", [1_700_000_000_123_000]),
        ([1_700_000_000_123_456, None], "us", [1_700_000_000_123_456, None]),
        ([1_700_000_000_123_456_789], "ns", [1_700_000_000_123_456]),
        ([-1.5, 1.5], "ms", [-1_500, 1_500]),
        ([9_223_372_036_854], "s", [9_223_372_036_854_000_000]),
        (["20240102"], "%Y%m%d", [micro(datetime(2024, 1, 2, tzinfo=UTC))]),
        ([20240102], "%Y%m%d", [micro(datetime(2024, 1, 2, tzinfo=UTC))]),
        (["02.01.2024 03:04"], "%d.%m.%Y %H:%M", [micro(datetime(2024, 1, 2, 3, 4, tzinfo=UTC))]),
        (["10/Oct/2000:13:55:36 -0700"], "%d/%b/%Y:%H:%M:%S %z", [971_211_336_000_000]),
    ],
)
def test_units_and_formats(values, timestamp_format, expected):
    result = parsed(values, timestamp_format)
    assert result.dtype == pl.Int64
    assert result.to_list() == expected


def test_numbers_stay_as_they_are_unless_a_unit_is_named():
    assert parsed(["1", " 2 "]).to_list() == [1, 2]
    assert parsed(["1", "2.5"]).to_list() == [1.0, 2.5]
    assert parsed([2**62 + 1, 2**62]).to_list() == [2**62 + 1, 2**62]


def test_local_times_are_read_in_their_zone():
    summer = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    assert parsed(["2024-07-01T12:00", "2024-07-01T12:00Z"], time_zone="Europe/Berlin").to_list() == [
        micro(summer),
        micro(summer.replace(tzinfo=UTC)),
    ]
    assert parsed(["01.07.2024 12:00"], "%d.%m.%Y %H:%M", "Europe/Berlin").to_list() == [micro(summer)]
    assert parsed([datetime(2024, 7, 1, 12)], time_zone="Europe/Berlin").to_list() == [micro(summer)]


def test_of_an_hour_that_comes_twice_the_first_is_taken():
    first = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=0)
    assert parsed(["2024-10-27T02:30:00"], time_zone="Europe/Berlin").to_list() == [micro(first)]


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (["1", "noon"], {}, "row 2 of x.csv: column 't' holds 'noon', which is not a number.*data.timestamp_format"),
        (["1", "nan"], {}, "row 2 of x.csv: column 't' holds 'nan', which is not a number"),
        ([1.0, float("inf")], {}, "row 2 of x.csv: column 't' holds 'inf'"),
        (["2024-01-01", "5"], {}, "row 2 of x.csv: column 't' holds '5', which is no date of ISO 8601"),
        (["2023-02-29"], {}, "row 1 of x.csv: column 't' holds '2023-02-29', which is no date"),
        (["2024-01-01T25:00"], {"timestamp_format": "iso8601"}, "which is no date"),
        (["x"], {"timestamp_format": "s"}, "'x', which is not a number: data.timestamp_format=s wants numbers"),
        (["9e30"], {"timestamp_format": "s"}, "beyond the year 292,000"),
        ([2**62], {"timestamp_format": "ms"}, "beyond the year 292,000"),
        (["32.2.2024"], {"timestamp_format": "%d.%m.%Y"}, "does not follow data.timestamp_format=%d"),
        ([5], {"timestamp_format": "iso8601"}, "holds numbers, not texts of dates"),
        ([5.5], {"timestamp_format": "%Y"}, "holds numbers, not texts of dates"),
        (["2024-03-31T02:30"], {"time_zone": "Europe/Berlin"}, "an hour that clocks in Europe/Berlin left out"),
        ([True], {}, "is of type Boolean"),
    ],
)
def test_what_is_no_time(values, options, words):
    with pytest.raises(DataError, match=words):
        parsed(values, **options)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (
            [1, 2],
            {"time_zone": "Europe/Berlin"},
            "time_zone=Europe/Berlin has no effect: column 't' of x.csv holds numbers",
        ),
        (["2024-01-01T00:00Z"], {"time_zone": "Europe/Berlin"}, "no effect: all times .* say their offset"),
        ([datetime(2024, 1, 1, tzinfo=UTC)], {"time_zone": "Europe/Berlin"}, "no effect.*says its zone"),
        ([datetime(2024, 1, 1)], {"timestamp_format": "s"}, "no effect.*holds dates"),
        (["1.2.2024 5"], {"timestamp_format": "%d.%m.%Y %H"}, "cannot be read by: .*hour and minute"),
    ],
)
def test_options_without_effect(values, options, words):
    with pytest.raises(OptionError, match=words):
        parsed(values, **options)


def test_all_mistakes_are_mistakes_of_a_person():
    for values in ([], [None], [""]):
        for timestamp_format in ("auto", "s", "iso8601", "%Y"):
            assert parsed(values, timestamp_format, dtype=pl.String).null_count() == len(values)
    assert issubclass(DataError, CurriculumRecError)
