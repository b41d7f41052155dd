"""What a compression cost, to read (host): a table, and a page with every parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NOTES = """\
Seconds are those of lists with all that is done outside the model. Bytes stored are those of the arrays; on disk they
are those of a checkpoint with these parameters alone, which packs them once more. Parameters are made dense when they
are read: memory and arithmetic are those of float32. NDCG is of the test split; its intervals are bootstrapped over
users, and that of the difference over users with both their values."""


def page(report: Mapping[str, Any]) -> str:
    """Write the report as Markdown."""
    header, rows = report_table(report)
    lines = [
        f"# {report['method']} of {report['run']}, checkpoint {report['checkpoint']:,}",
        "",
        *(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)),
        "",
        NOTES,
        "",
        "| parameter | form | bytes before | bytes after |",
        "| --- | --- | --- | --- |",
        *(
            f"| {entry['name']} | {entry['form']} | {entry['before']:,} | {entry['after']:,} |"
            for entry in report["parameters"]
        ),
    ]
    return "\n".join(lines) + "\n"


def report_table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Give the report's header and rows: what, before, after, and how they compare."""
    k, ndcg = report["k"], report["ndcg"]

    def pair(title: str, values: Mapping[str, float], form: str) -> list[str]:
        before, after = values["before"], values["after"]
        return [title, format(before, form), format(after, form), f"{after / max(before, 1e-9):.1%}"]

    def interval(values: Sequence[float], form: str) -> str:
        return f"{format(values[0], form)} to {format(values[1], form)}"

    return ["", "before", "after", "after / before"], [
        pair("bytes stored", report["stored_bytes"], ","),
        pair("bytes on disk", report["checkpoint_bytes"], ","),
        pair("bytes in memory", report["memory_bytes"], ","),
        pair("s / 1,000 users", report["seconds_per_1000_users"], ".3f"),
        [f"top-{k} overlap", "", "", f"{report['overlap']:.1%}"],
        pair(f"NDCG@{k}", ndcg, ".4f"),
        ["95 % interval", interval(ndcg["before_interval"], ".4f"), interval(ndcg["after_interval"], ".4f"), ""],
        ["difference", "", f"{ndcg['difference']:+.5f}", interval(ndcg["difference_interval"], "+.5f")],
    ]
