"""`entrove curves`: a study of learning curves."""

from functools import partial
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from entrove.cli.commands.options import print_json, say
from entrove.cli.progress import open_progress
from entrove.curves.results import StudyResults
from entrove.errors import ConfigError
from entrove.report.curves import tables
from entrove.report.tables import Table


def run_curves(study_file: Path, console: Console, *, as_json: bool) -> None:
    """Run or continue a study, write its page, and print its tables.

    The page is written when the study is stopped, too, by Ctrl-C or SIGTERM.
    """
    from entrove.campaign.configuration.config_file import read_config_file
    from entrove.curves.config import HOW_TO_WRITE, StudyConfig
    from entrove.curves.results import read_study
    from entrove.curves.study import RESULTS_FILE, run_study
    from entrove.report.curves.page import write_curves_page

    _refuse_campaign(study_file)
    study = read_config_file(study_file, StudyConfig, how_to_write=HOW_TO_WRITE)
    folder = study_file.parent / study.folder
    page = folder / "curves.html"
    try:
        if as_json:
            results = run_study(study_file)
        else:
            with open_progress(console) as progress:
                results = run_study(study_file, listener=progress, say=partial(say, to=console))
    except KeyboardInterrupt:  # SIGTERM, too
        if (folder / RESULTS_FILE).is_file():
            write_curves_page(read_study(folder / RESULTS_FILE), page)
        raise
    if not as_json:
        show_curves(results, console)
    write_curves_page(results, page)
    if as_json:
        print_json(results.to_dict())
        return
    say(f"results: {folder / RESULTS_FILE}", to=console)
    say(f"page:    {page}", to=console)


def _refuse_campaign(study_file: Path) -> None:
    """Raise `ConfigError` for a file that is missing, or is the configuration of a campaign."""
    from entrove.campaign.configuration.config_file import load_yaml
    from entrove.curves.config import HOW_TO_WRITE

    if not study_file.is_file():
        raise ConfigError(f"{study_file}: no such file; {HOW_TO_WRITE}")
    try:
        keys = load_yaml(study_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return  # said in detail by the reader of configurations
    if isinstance(keys, dict) and {"seeds", "regime"} & keys.keys() and "arms" not in keys:
        raise ConfigError(
            f"{study_file}: this is the configuration of a campaign, which a study names under "
            f"'campaign'; {HOW_TO_WRITE}"
        )


def show_curves(results: StudyResults, console: Console) -> None:
    """Print errors and ratios of every student on every test set, all structures together."""
    for student in results.students():
        for test in results.tests():
            console.print(f"\n{student}, tested on: {test}", highlight=False, markup=False)
            for quantity in ("energy", "force", "stress"):
                console.print(
                    _as_rich(tables.errors(results, student, test, tables.ALL, quantity))
                )
                console.print(
                    _as_rich(tables.ratios(results, student, test, tables.ALL, quantity))
                )


def _as_rich(table: Table) -> RichTable:
    shown = RichTable(box=None, pad_edge=False)
    for column in table.columns:
        shown.add_column(Text(column.title), justify="right" if column.numeric else "left")
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown
