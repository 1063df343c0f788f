"""Read a configuration file, and explain every problem in it without naming a library.

Each problem is one line: file, line, key path, what was given, what is allowed, what to do.
"""

import difflib
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from entrove.errors import ConfigError

KeyPath = tuple[str | int, ...]

_KINDS = {str: "text", list: "a list", int: "a number", float: "a number"}
"""What a file has instead of keys and values."""


MERGE = "tag:yaml.org,2002:merge"
"""Tag of the key `<<`, whose value's keys are taken where they are not given beside it."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, except that a key given twice is an error (YAML keeps the last one).

    So is, in its line, a value such as 2026-30-11, for which YAML has Python raise what it likes.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._checked: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Expand merge keys in place: keys are compared once, before."""
        if id(node) not in self._checked:
            self._checked.add(id(node))
            self._require_unique_keys(node)
        super().flatten_mapping(node)

    def _require_unique_keys(self, node: yaml.MappingNode) -> None:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, f"a key must be a plain word, got {key}", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' is given twice", key_node.start_mark
                )
            seen.add(key)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:
            problem = (
                f"'{node.value}' looks like a date, a number or another kind of value and is "
                "none; put text in quotes"
            )
            raise yaml.constructor.ConstructorError(
                None, None, problem, node.start_mark
            ) from error


def _construct_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping
)


def load_yaml(text: str) -> Any:
    """Read YAML as a configuration is read; raises `yaml.YAMLError` for whatever is wrong."""
    return _parse(text)[0]


def _parse(text: str) -> tuple[Any, yaml.Node | None]:
    """Values, and the nodes with their lines, into which merge keys are expanded."""
    # A SafeLoader subclass: it builds plain Python values only.
    loader = _UniqueKeyLoader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(node), node
    finally:
        loader.dispose()


def read_config_file[Model: BaseModel](
    path: Path, model: type[Model], *, how_to_write: str = ""
) -> Model:
    """Read the YAML file `path` and validate it against `model`.

    Args:
        path: The file.
        model: What it is validated against.
        how_to_write: What to do without such a file, for messages, where 'entrove init' writes
            none.

    Raises `ConfigError` whose message lists every problem, one per line.
    """
    text = _read_text(path, how_to_write)
    try:
        values, node = _parse(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"{path}:{line}: not valid YAML: {_explain_yaml(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}; correct the file") from error
    if not isinstance(values, dict):
        given = "an empty file" if values is None else _KINDS.get(type(values), "a value")
        raise ConfigError(
            f"{path}: expected keys and values, got {given}; "
            + (how_to_write or "'entrove init FOLDER' writes a file to start from")
        )
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_describe_all(path, node, model, error)) from error


def _problems(error: ValidationError) -> list[Any]:
    """List the problems; a list is not also too short where items of it are wrong."""
    problems = error.errors()
    return [
        problem
        for problem in problems
        if problem["type"] != "too_short"
        or not any(
            other["loc"][: len(problem["loc"])] == problem["loc"] and other is not problem
            for other in problems
        )
    ]


def _explain_yaml(error: yaml.MarkedYAMLError) -> str:
    """Say what is wrong in a line; a parser names the tokens that it expected."""
    problem = error.problem or "it cannot be read"
    if problem.startswith("expected <block end>") or "mapping values are not" in problem:
        return (
            "the indentation of this line does not fit the lines above it; indent keys of one "
            "section equally, below its name (is that commented out?), and write a blank after "
            "each colon"
        )
    if "'\\t'" in problem:
        return "a tab stands here; YAML is indented with blanks only: replace the tabs by blanks"
    return f"{problem}; correct this line"


def validate_values[Model: BaseModel](
    values: Mapping[str, Any], model: type[Model], source: str
) -> Model:
    """Validate values that are not those of one file.

    Args:
        values: Sections and keys, as a file would have them.
        model: What they are validated against.
        source: Where they come from, for messages.

    Raises `ConfigError` whose message lists every problem, one per line.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        node = yaml.compose(yaml.safe_dump(dict(values)), Loader=yaml.SafeLoader)
        raise ConfigError(_describe_all(source, node, model, error)) from error


def locate(path: Path, key_path: KeyPath) -> str:
    """Return "file:line: a.b[2]" for a key, for checks that are made after the validation.

    Without a file, as where settings come from options, it is the key alone; without a line where
    the file does not have the section.
    """
    if not path.exists():
        return format_key_path(key_path)
    try:
        _, node = _parse(_read_text(path))
    except yaml.YAMLError:
        node = None
    if key_path and _child(node, key_path[0]) is None:
        return f"{path}: {format_key_path(key_path)}"
    return _place(path, node, key_path)


def _place(source: Path | str, node: yaml.Node | None, key_path: KeyPath) -> str:
    """Name a key and where it is: a line of a file, or another source of values."""
    line = f":{_line_of(node, key_path)}" if isinstance(source, Path) else ""
    place = f"{source}{line}"
    return f"{place}: {format_key_path(key_path)}" if key_path else place


def problem_at(path: Path, key_path: KeyPath, message: str) -> ConfigError:
    """Return the error of a check that is made after the validation."""
    return ConfigError(f"{locate(path, key_path)}: {message}")


def format_key_path(key_path: KeyPath) -> str:
    """Write a key path with dots and brackets.

    >>> format_key_path(("seeds", 1, "file"))
    'seeds[1].file'
    """
    text = ""
    for key in key_path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def _read_text(path: Path, how_to_write: str = "") -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file; "
            + (how_to_write or "'entrove init FOLDER' writes one to start from")
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}); give a text file in UTF-8 that you may read"
        ) from error


def _describe_all(
    source: Path | str, node: yaml.Node | None, model: type[BaseModel], error: ValidationError
) -> str:
    """Every problem, one per line; a value that fits none of several types is one."""
    lines: dict[str, str] = {}
    for problem in _problems(error):
        where, message = _describe(source, node, model, problem)
        if where not in lines:
            lines[where] = message
        elif message not in lines[where]:
            is_choice = problem["type"] == "literal_error"
            lines[where] += f", or {message}" if is_choice else f"\n{where}{message}"
    return "\n".join(f"{where}{message}" for where, message in lines.items())


def _describe(
    source: Path | str, node: yaml.Node | None, model: type[BaseModel], problem: Any
) -> tuple[str, str]:
    """Return where a problem is with what is there, and what belongs there."""
    key_path = _without_union_tags(problem["loc"], node, problem["type"])
    where = _place(source, node, key_path)
    given = problem["input"]
    if problem["type"] == "extra_forbidden":
        allowed = sorted(_allowed_keys(model, problem["loc"][:-1]))
        near = difflib.get_close_matches(str(key_path[-1]), allowed, n=1)
        homes = [
            path or "the top level"
            for path, section in sections(model)
            if key_path[-1] in section.model_fields
        ]
        if near:
            remedy = f"did you mean '{near[0]}'?"
        elif homes:
            remedy = f"it belongs in {' or '.join(homes[:3])}, not here."
        else:
            remedy = "remove it."
        return f"{where}: ", f"unknown key; {remedy} Allowed here: {', '.join(allowed)}"
    if problem["type"] == "missing":
        return f"{where}: ", "this key is missing; add it"
    message = _explain(problem, _text_at(node, key_path), model)
    if isinstance(given, dict | list):
        return f"{where}: ", message
    return f"{where}: got {_as_written(given)}; ", message


def _as_written(given: Any) -> str:
    """A value as YAML has it, except that text is in quotes."""
    if given is None:
        return "nothing"
    return str(given).lower() if isinstance(given, bool) else repr(given)


def _explain(problem: Any, text: str | None, model: type[BaseModel]) -> str:
    """Say what belongs at this place; `text` is what the file has there, if it is a scalar."""
    location: KeyPath = problem["loc"]
    match problem["type"]:
        case "union_tag_not_found":
            tags = [_tag(member) for member in _models_at(model, location)]
            return f"this section needs a name: {', '.join(str(tag) for tag in tags)}"
        case "union_tag_invalid":
            context = problem["ctx"]
            return f"unknown name {context['tag']!r}; one of {context['expected_tags']}"
        case "tuple_type" | "list_type":
            return "a list belongs here: [a, b]"
        case "too_short":
            least = problem["ctx"]["min_length"]
            return f"give at least {least} item{'' if least == 1 else 's'}"
        case "int_parsing" | "int_type" | "int_from_float":
            return "a whole number belongs here"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "keys and values belong here, indented below this key"
        case "string_type" if text is not None:
            # YAML 1.1 reads 12:00:00 as a sexagesimal number.
            return f'text belongs here; put it in quotes: "{text}"'
        case "string_pattern_mismatch":
            fields = (
                member.model_fields.get(str(location[-1]))
                for member in _models_at(model, location[:-1])
            )
            meanings = [
                field.description for field in fields if field is not None and field.description
            ]
            return f"this does not fit: {meanings[0]}" if meanings else problem["msg"]
        case "invalid_key":
            return "a key must be a plain word"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message[:1].lower() + message[1:]


def _text_at(node: yaml.Node | None, key_path: KeyPath) -> str | None:
    """Return a value as it is written in the file; None when it is a list or a section."""
    for key in key_path:
        node = _child(node, key)
    return node.value if isinstance(node, yaml.ScalarNode) else None


def _without_union_tags(location: KeyPath, node: yaml.Node | None, kind: str) -> KeyPath:
    # Pydantic puts the tag of a tagged union into the location, although it is not a key of the
    # file.
    found: list[str | int] = []
    current = node
    for position, key in enumerate(location):
        child = _child(current, key)
        is_last = position == len(location) - 1
        if child is None and not (is_last and kind == "missing") and current is not None:
            if is_last and not isinstance(current, yaml.MappingNode):
                continue
            if not is_last:
                continue
        found.append(key)
        current = child
    return tuple(found)


def _entry(node: yaml.MappingNode, key: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Name and value of a key; what is given beside a merge key is behind what that brings."""
    return next((entry for entry in reversed(node.value) if entry[0].value == str(key)), None)


def _child(node: yaml.Node | None, key: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        entry = _entry(node, key)
        return None if entry is None else entry[1]
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key]
    return None


def _line_of(node: yaml.Node | None, key_path: KeyPath) -> int:
    line = 1
    for key in key_path:
        if isinstance(node, yaml.MappingNode):
            entry = _entry(node, key)
            line = line if entry is None else entry[0].start_mark.line + 1
        node = _child(node, key)
        if node is None:
            break
        if isinstance(key, int):
            line = node.start_mark.line + 1
    return line


def _allowed_keys(model: type[BaseModel], location: KeyPath) -> set[str]:
    return {name for member in _models_at(model, location) for name in member.model_fields}


def _models_at(model: type[BaseModel], location: KeyPath) -> list[type[BaseModel]]:
    """Return the models at `location`; the tag of a union selects a member by its `name`."""
    candidates = [model]
    for key in location:
        if isinstance(key, int):
            continue
        tagged = [member for member in candidates if _tag(member) == key]
        if tagged:
            candidates = tagged
            continue
        fields = [member.model_fields[key] for member in candidates if key in member.model_fields]
        nested = [inner for info in fields for inner in nested_models(info.annotation)]
        candidates = nested or candidates
    return candidates


def _tag(model: type[BaseModel]) -> str | None:
    info = model.model_fields.get("name")
    literals = get_args(info.annotation) if info is not None else ()
    return literals[0] if literals and isinstance(literals[0], str) else None


def sections(model: type[BaseModel], at: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the path and the model of a configuration and of all sections in it.

    Members of a union have the name that chooses them behind the path, as in
    `labelling.engine (gpaw)`.
    """
    yield at, model
    for name, field in model.model_fields.items():
        members = list(dict.fromkeys(nested_models(field.annotation)))
        for member in members:
            tag = _tag(member) if len(members) > 1 else None
            place = f"{at}.{name}" if at else name
            yield from sections(member, f"{place} ({tag})" if tag else place)


def nested_models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the configuration models inside the annotation of a field (unions, tuples, ...)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from nested_models(inner)


def yaml_on_one_line(value: Any) -> str:
    """Write a value of a configuration as YAML, lists and sections in brackets.

    >>> yaml_on_one_line({"name": "gpaw", "moments": {"Fe": 2.2}})
    '{name: gpaw, moments: {Fe: 2.2}}'
    """
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True
    )
    return text.strip().removesuffix("\n...").strip()
