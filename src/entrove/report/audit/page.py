"""Write the page of an audit: a single HTML file that needs no network and no other file."""

from pathlib import Path

from entrove import __version__
from entrove.curation.auditing.findings import Severity
from entrove.curation.auditing.report import AuditReport
from entrove.errors import StructureError
from entrove.report.audit.figures import MOST_SOURCES_COLOURED, draw_histogram, draw_map
from entrove.report.audit.pictures import draw_structure
from entrove.report.figures import style
from entrove.report.formatting import format_duration, shorten
from entrove.report.tables import Column, Table
from entrove.report.templates import render_page, write_page

MOST_ROWS = 40
MOST_FRAMES_SHOWN = 40


def write_audit_page(report: AuditReport, path: str | Path) -> Path:
    """Write the page of an audit.

    Args:
        report: What `entrove.curation.audit` returns.
        path: The HTML file; an older one is replaced in one step.

    Returns the path. Raises `EntroveError` when the extra `report` is not installed, and
    `StructureError` when the file cannot be written.
    """
    return write_page(path, render_audit_page(report), StructureError)


def render_audit_page(report: AuditReport) -> str:
    """Return the page as text; see `write_audit_page`."""
    coverage = report.coverage
    histograms = [draw_histogram(k, one) for k, one in enumerate(coverage.histograms)]
    worst = {one.number: f"{one.frame}: {one.reason}" for one in report.worst}
    space = draw_map(coverage, list(coverage.source_names), worst)
    figures = [*histograms, *([space] if space is not None else [])]
    return render_page(
        "audit.html.j2",
        figures,
        report=report,
        title=shorten(", ".join(Path(file).name for file in report.files), 120),
        version=__version__,
        Severity=Severity,
        facts=_facts(report),
        conventions=_conventions(report),
        histograms=histograms,
        space=space,
        sources=list(coverage.source_names)[:MOST_SOURCES_COLOURED],
        symbols=style.SYMBOLS,
        tables={
            "compositions": _counts("composition", coverage.compositions),
            "sources": _counts("source", coverage.sources),
            "phases": _counts("phase", coverage.phases),
        },
        worst=[(one, draw_structure(one.atoms)) for one in report.worst],
        most_frames=MOST_FRAMES_SHOWN,
    )


def _facts(report: AuditReport) -> list[tuple[str, str]]:
    coverage = report.coverage
    least, most = coverage.atoms
    labels = ", ".join(f"{name} {count:,}" for name, count in coverage.labels.items())
    return [
        ("Frames", f"{report.frames:,}, of which {report.left_out:,} could not be used"),
        ("Atoms per frame", f"{least}" if least == most else f"{least} to {most}"),
        ("Labels", labels),
        ("Compared with", report.predictor),
        (
            "Error of its forces",
            "-"
            if report.force_error is None
            else f"{100 * report.force_error:.0f} % of their size",
        ),
        ("Time", format_duration(report.seconds)),
    ]


def _conventions(report: AuditReport) -> Table:
    return Table(
        (
            Column("Part"),
            Column("Frames", numeric=True),
            Column("Energies and forces", prose=True),
            Column("Stress", prose=True),
        ),
        [
            (
                shorten(of_file.part, 60),
                str(of_file.frames),
                "not decided" if of_file.energy is None else of_file.energy.what,
                "none, or not decided" if of_file.stress is None else str(of_file.stress),
            )
            for of_file in report.conventions[:MOST_ROWS]
        ],
    )


def _counts(title: str, counts: dict[str, int]) -> Table:
    rows = [(shorten(name, 70), f"{count:,}") for name, count in list(counts.items())[:MOST_ROWS]]
    if len(counts) > MOST_ROWS:
        left = sum(list(counts.values())[MOST_ROWS:])
        rows.append((f"{len(counts) - MOST_ROWS} more", f"{left:,}"))
    return Table((Column(title.capitalize()), Column("Frames", numeric=True)), rows)
