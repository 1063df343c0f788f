"""`entrove export`: a potential for another program, or the labels of its campaign."""

from pathlib import Path
from typing import Any

from rich.console import Console

from entrove.export.export import export


def export_bundle(path: Path, to: str, out: Path | None, *, console: Console, **how: Any) -> None:
    """Export, and print what was written, what was checked, and what was not."""
    written = export(path, to, out, **how)  # pyright: ignore[reportArgumentType]: it is checked
    for check in written.checks:
        console.print(check.describe(), highlight=False, markup=False, soft_wrap=True)
    readme = written.folder / "README.md"
    advice = f"; read {readme}" if readme.is_file() else ""
    console.print(f"wrote {written.folder}{advice}", highlight=False, markup=False, soft_wrap=True)
