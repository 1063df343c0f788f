"""`entrove audit`: what is wrong in labelled files."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from entrove.cli.commands.options import print_json, say
from entrove.cli.curation import check_folders, check_inputs
from entrove.cli.progress import spinner_of
from entrove.curation.auditing.audit import audit
from entrove.curation.auditing.findings import Finding, Severity
from entrove.curation.auditing.report import AuditReport
from entrove.formats import LabelKeys

_STYLES = {Severity.BLOCKER: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_FRAMES_SHOWN = 8


def audit_files(
    files: Sequence[Path],
    *,
    model: str | None,
    against: Sequence[Path],
    html: Path | None,
    as_json: bool,
    keys: LabelKeys,
    console: Console,
) -> int:
    """Audit files, print what was found, and return the exit status."""
    check_inputs([*files, *against])
    check_folders({"--html": html}, inputs=[*files, *against])
    if html is not None:
        from entrove._optional import require

        # Minutes of work must not end with the name of a missing package.
        require("jinja2", extra="report")
        require("plotly.offline", extra="report")
    report = _run(files, model, against, keys)
    if html is not None:
        from entrove.report.audit.page import write_audit_page

        write_audit_page(report, html)
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report, console)
        if html is not None:
            say(f"wrote {html}", to=console)
    return report.exit_status


def _run(
    files: Sequence[Path], model: str | None, against: Sequence[Path], keys: LabelKeys
) -> AuditReport:
    # On stderr, so that JSON can be piped.
    console = Console(stderr=True)
    spinner = SpinnerColumn(spinner_of(console))
    columns = (spinner, TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    # Elsewhere than on a terminal it would leave an empty line.
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("reading")

        def progress(stage: str, done: int, total: int | None) -> None:
            of = f" of {total:,}" if total else ""
            bar.update(task, description=f"{stage} {done:,}{of} frames" if done else stage)

        return audit(
            [str(path) for path in files],
            model=model,
            against=[str(path) for path in against],
            keys=keys,
            progress=progress,
        )


def _show(report: AuditReport, console: Console) -> None:
    say(report.verdict, "bold", to=console)
    say(f"labels were compared with {report.predictor}", to=console)
    has_labels = all(finding.kind != "no_labels" for finding in report.findings)
    for part in report.conventions if has_labels else ():
        energy = (
            "the unit of energies and forces is not decided"
            if part.energy is None
            else part.energy.what
        )
        stress = "" if part.stress is None else f"; {part.stress}"
        say(f"{part.part}: {energy}{stress}", "dim", to=console)
    for finding in report.findings:
        _show_finding(finding, console)


def _show_finding(finding: Finding, console: Console) -> None:
    count = (
        f" ({finding.count:,} frame{'' if finding.count == 1 else 's'})" if finding.count else ""
    )
    console.print()
    say(f"{finding.severity}: {finding.title}{count}", _STYLES[finding.severity], to=console)
    say(f"  {finding.evidence}", to=console)
    if finding.frames:
        shown = ", ".join(str(frame) for frame in finding.frames[:_FRAMES_SHOWN])
        more = finding.count - min(finding.count, _FRAMES_SHOWN)
        say(f"  {shown}" + (f" and {more:,} more" if more else ""), to=console)
    say(f"  remedy: {finding.remedy}", to=console)
