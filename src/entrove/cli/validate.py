"""`entrove validate`: judge a potential by named checks."""

import time
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from entrove._version import __version__
from entrove.campaign.configuration.config_file import read_config_file
from entrove.campaign.configuration.seeds import read_seed
from entrove.cli.commands.options import print_json, say
from entrove.cli.curation import check_folders
from entrove.cli.progress import spinner_of
from entrove.cli.stages.structures import read_labelled
from entrove.errors import ConfigError, EntroveError
from entrove.files import require_writable
from entrove.formats.xyz_blocks import without_compression
from entrove.validation.suite import CheckResult, Outcome, SuiteConfig, SuiteResult, run_suite

_STYLES = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.NOT_APPLICABLE: "dim"}
HOW_TO_WRITE = (
    "the page 'Validation' shows such a file, and 'entrove reference' prints its keys in section "
    "'suite'"
)
"""What to do without the file of --suite, for messages."""

STOPPED = 130
"""Exit status after Ctrl-C."""


def validate_model(
    model: str,
    *,
    data: Sequence[Path],
    seeds: Sequence[Path],
    suite: Path | None,
    against: str | None,
    out: Path | None,
    html: Path | None,
    as_json: bool,
    device: str,
    console: Console,
) -> int:
    """Judge a model, print what was found, and return the exit status.

    Raises `ConfigError` for everything that is wrong in what was given.
    """
    check_folders({"--html": html}, inputs=[*data, *seeds, *([suite] if suite else [])])
    if out is not None:
        require_writable(f"--out {out}", out)
    if html is not None:
        from entrove._optional import require

        # Minutes of work must not end with the name of a missing package.
        require("jinja2", extra="report")
        require("plotly.offline", extra="report")
    watch = _Watch(Console(stderr=True), console, quiet=as_json)
    try:
        config = (
            read_config_file(suite, SuiteConfig, how_to_write=HOW_TO_WRITE)
            if suite
            else SuiteConfig()
        )
        if not config.enabled:
            raise ConfigError(
                f"{suite}: 'enabled: false' leaves out the whole suite, in a campaign; remove it, "
                "or turn off single checks"
            )
        with watch:
            result = run_suite(
                model,
                phases=_read_seeds(seeds),
                labelled=read_labelled(data, watch.messages),
                against=against,
                config=config,
                folder=out,
                device=device,
                progress=watch.tell,
            )
    except KeyboardInterrupt:
        result = watch.so_far(model, against)
    except EntroveError as error:
        # Checks that fail are verdicts: what raises here is what was given.
        raise ConfigError(str(error)) from error
    if as_json:
        print_json(result.to_dict())
    else:
        say(result.summary, "bold", to=console)
    if html is not None:
        from entrove.report.checks.page import write_suite_page

        write_suite_page(result, html)
        say(f"wrote {html}", to=watch.messages)
    if not result.complete:
        say(_how_to_continue(out), to=watch.messages)
        return STOPPED
    return 0 if result.passed else 1


def _how_to_continue(out: Path | None) -> str:
    if out is None:
        return "stopped; with --out FOLDER, finished checks are kept and need not be made again"
    return f"stopped; what is finished is in {out}, and the same command continues from there"


def _read_seeds(paths: Sequence[Path]) -> dict[str, Atoms]:
    seeds: dict[str, Atoms] = {}
    for path in paths:
        phase = without_compression(path).stem
        if phase in seeds:
            raise ConfigError(
                f"{path}: two seeds are called '{phase}', which is the name of the phase; "
                "rename one of the files"
            )
        seeds[phase] = read_seed(path)[0]
    return seeds


class _Watch:
    """Shows which check is running, prints each result, and keeps what is finished."""

    def __init__(self, messages: Console, results: Console, *, quiet: bool):
        self.messages, self._results, self._quiet = messages, results, quiet
        self._bar = Progress(
            SpinnerColumn(spinner_of(messages)),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=messages,
            transient=True,
        )
        self._task = self._bar.add_task("reading")
        self._found: list[CheckResult] = []
        self._seconds: dict[str, float] = {}
        self._began = time.monotonic()

    def __enter__(self) -> "_Watch":
        if self.messages.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Elsewhere than on a terminal it would leave an empty line.
        if self.messages.is_terminal:
            self._bar.stop()

    def tell(self, name: str, description: str, results: Sequence[CheckResult] | None) -> None:
        """Show that a check begins, or print what it found."""
        if results is None:
            self._began = time.monotonic()
            self._bar.reset(self._task, description=description)
            if not self.messages.is_terminal and not self._quiet:
                say(f"{name}: {description}", to=self.messages)
            return
        self._seconds[name] = time.monotonic() - self._began
        self._found += results
        if not self._quiet:
            for result in results:
                _show(result, self._results)

    def so_far(self, model: str, against: str | None) -> SuiteResult:
        """What is finished after an interruption."""
        return SuiteResult(
            model, against or "", tuple(self._found), self._seconds, {}, __version__, False
        )


def _show(result: CheckResult, console: Console) -> None:
    console.print(Text(f"{result.outcome}  ", style=_STYLES[result.outcome]), end="")
    say(f"{result.title}: {result.sentence}", to=console)
