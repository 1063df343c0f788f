"""Pages of the documentation site that are made from the code, and files from outside `docs/`.

MkDocs calls the functions `on_...`. Three kinds of pages have no file in `docs/`: the API, one
page for each package that has a map of public names (`__init__.pyi`); the commands, from their own
help; and the measurements, which stay in `benchmarks/`.
"""

import ast
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"

COMMANDS_PAGE = "reference/commands.md"
CHANGES_PAGE = "changes.md"
MOVED = {"README.md": "index.md", "CHANGELOG.md": CHANGES_PAGE}
"""Files of the repository that are another page of the site."""

OUTSIDE = ("benchmarks", "examples")
"""Folders beside `docs/` that pages link to; they become a part of the site."""
SUFFIXES = (".md", ".py", ".json", ".txt", ".yaml", ".xyz")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
SHORT_CODE = re.compile(r"<code>([^<]{1,24})</code>")


def public_names() -> dict[str, list[str]]:
    """Return the public names of each package with a map, by the package's import path."""
    found = {}
    for stub in sorted(SOURCE.glob("entrove/**/__init__.pyi")):
        package = ".".join(stub.parent.relative_to(SOURCE).parts)
        found[package] = [
            alias.asname or alias.name
            for node in ast.parse(stub.read_text()).body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.name != "__version__"
        ]
    # Not in a map: the engines, which a configuration names, and the errors.
    for node in ast.parse((SOURCE / "entrove/labelling/engines/__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found["entrove.labelling.engines"] = ast.literal_eval(node.value)
    found["entrove.errors"] = [
        node.name
        for node in ast.parse((SOURCE / "entrove/errors.py").read_text()).body
        if isinstance(node, ast.ClassDef)
    ]
    return dict(sorted(found.items()))


def api_pages() -> dict[str, str]:
    """Return the Markdown of the API, by the path of the page."""
    pages = {}
    for package, names in public_names().items():
        file = SOURCE / Path(*package.split("."))
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        summary = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
        blocks = [f"::: {package}.{name}\n\n{_keys_of(package, name)}" for name in names]
        pages[f"api/{package}.md"] = "\n\n".join([f"# {package}", summary, *blocks, ""])
    return pages


def _keys_of(package: str, name: str) -> str:
    """Where the keys of a configuration are explained; nothing for other classes."""
    engines = ("AseCalculator", "Cp2k", "Espresso", "Gpaw", "Mlip", "Vasp")
    if package == "entrove.curves":
        return "Its keys: [learning curves](../curves.md)." if name == "StudyConfig" else ""
    if name.endswith("Config") or (package.endswith(".engines") and name in engines):
        return "Its keys: [configuration](../configuration.md)."
    return ""


def commands_page() -> str:
    """Return the Markdown of all commands, from the help of the program itself."""
    import click
    import typer

    from entrove.cli.main import app

    group: Any = typer.main.get_command(app)
    context = click.Context(group, info_name="entrove")
    text = [
        "# Commands",
        "`entrove --help` and `entrove COMMAND --help` say the same in a terminal. "
        "[Exit codes](exit-codes.md) are for scripts.",
    ]
    for name in group.list_commands(context):
        text += _describe_command(group.get_command(context, name), f"entrove {name}")
    return "\n\n".join([*text, ""])


def _describe_command(command: Any, name: str) -> Iterator[str]:
    import click

    if command.hidden:
        return
    context = click.Context(command, info_name=name)
    if hasattr(command, "list_commands"):
        for inner in command.list_commands(context):
            yield from _describe_command(command.get_command(context, inner), f"{name} {inner}")
        return
    yield f"## {name}"
    yield command.help or ""
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{name} {re.sub(r'[{}]', '', usage)}\n```"
    rows = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        is_argument = parameter.param_type_name == "argument"
        names = [parameter.metavar or parameter.name.upper()] if is_argument else parameter.opts
        help_text = re.sub(r"([|<>*_\[\]])", r"\\\1", parameter.help or "")
        rows.append(f"| {', '.join(f'`{name}`' for name in names)} | {help_text} |")
    if rows:
        yield "\n".join(["| argument or option | meaning |", "|---|---|", *rows])


def _files_outside() -> list[str]:
    """Return the files beside `docs/` that are a part of the site, the overviews first."""
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in OUTSIDE
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix in SUFFIXES and "campaign" not in path.parts
    ]
    return sorted(
        found, key=lambda path: (posixpath.dirname(path), not path.endswith("README.md"), path)
    )


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the parts of the navigation that follow from the code and from `benchmarks/`."""
    sys.path.insert(0, str(SOURCE))
    filled = {
        "API": [{path[4:-3]: path} for path in api_pages()],
        "Measurements": [path for path in _files_outside() if path.endswith(".md")],
    }
    for part in config.nav or []:
        for entry in part.get("Reference", []):
            if isinstance(entry, dict):
                entry.update({name: pages for name, pages in filled.items() if name in entry})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and what pages link to outside of `docs/`."""
    changes = (ROOT / "CHANGELOG.md").read_text()
    texts = {**api_pages(), COMMANDS_PAGE: commands_page(), CHANGES_PAGE: changes}
    for path, text in texts.items():
        files.append(File.generated(config, path, content=text))
    for path in _files_outside():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mark code that is short enough to stay on one line of a phone."""
    del page, config, files
    return SHORT_CODE.sub(r'<code class="whole">\1</code>', html)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site, where `docs/` is the root."""
    del config, files
    path = page.file.src_uri
    if path == CHANGES_PAGE:
        in_repository = "CHANGELOG.md"
    elif path.startswith(OUTSIDE):
        in_repository = path
    else:
        in_repository = f"docs/{path}"

    def lead(match: re.Match[str]) -> str:
        target = posixpath.normpath(
            posixpath.join(posixpath.dirname(in_repository), match["target"])
        )
        target = MOVED.get(target, target.removeprefix("docs/"))
        address = posixpath.relpath(target, posixpath.dirname(path) or ".")
        return f"]({address}{match['anchor'] or ''})"

    return LINK.sub(lead, markdown)
