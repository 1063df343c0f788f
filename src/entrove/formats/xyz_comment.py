"""The second line of an extended XYZ frame: `key=value` pairs with quotes, logicals and JSON."""

import json
import re
from typing import Any

import numpy as np

from entrove.formats.labels_of_frame import BrokenFrameError

# A key or a value is made of plain characters and of quoted or bracketed pieces.
_QUOTED = r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|\{[^}]*\}|\[[^\]]*\]|\\.'
_PAIR = re.compile(
    rf"\s*((?:{_QUOTED}|[^\s=\"'{{\[\\])+)(?:\s*=\s*((?:{_QUOTED}|[^\s\"'{{\[\\])*))?"
)
_PIECE = re.compile(rf"({_QUOTED})|[^\"'{{\[\\]+")
_PLAIN = re.compile(r"[^\"'{\[\\]*")
LOGICAL = {"T": True, "F": False, "true": True, "false": False, "True": True, "False": False}
LOGICAL |= {"TRUE": True, "FALSE": False}


def parse_comment(comment: str) -> dict[str, Any]:
    """Read the `key=value` pairs of a comment line.

    Values become integers, floats, logicals or arrays of them where all their words are such, and
    JSON after `_JSON`; a key without value is True.

    >>> parse_comment('energy=-1.5 pbc="T T F" name="two words" flag n="1 2"')["n"].tolist()
    [1, 2]
    """
    info: dict[str, Any] = {}
    position, comment = 0, comment.strip()
    while position < len(comment):
        pair = _PAIR.match(comment, position)
        if pair is None:
            raise BrokenFrameError(f"the comment cannot be read from '{comment[position:][:40]}'")
        position = pair.end()
        key, text = _unquoted(pair[1]), pair[2]
        if text is None:
            info[key] = True
        else:
            text = _unquoted(text)
            info[key] = text if key.lower() == "uid" else parse_value(text)
        while position < len(comment) and comment[position].isspace():
            position += 1
    return info


def _unquoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    if text[0] == '"' and _PLAIN.fullmatch(text, 1, len(text) - 1):
        return text[1:-1]
    pieces: list[str] = []
    for piece in _PIECE.finditer(text):
        quoted = piece[1]
        if quoted is None:
            pieces.append(piece[0])
        elif quoted[0] == "\\":
            pieces.append(quoted[1])
        elif "\\" in quoted:
            pieces.append(re.sub(r"\\(.)", r"\1", quoted[1:-1]))
        else:
            pieces.append(quoted[1:-1])
    return "".join(pieces)


def parse_value(text: str) -> Any:
    """Return what the text of a value stands for, without its quotes."""
    if text.startswith("_JSON "):
        try:
            value = json.loads(text[6:])
        except ValueError as error:
            raise BrokenFrameError(f"'{text[:40]}' is no JSON") from error
        try:
            array = np.array(value)
        except ValueError:  # lists of different lengths
            return value
        return array if array.dtype.kind in "ifb" and array.ndim else value
    words = text.replace(",", " ").split()
    for convert in (int, float, LOGICAL.__getitem__):
        try:
            values = [convert(word) for word in words]
        except (ValueError, KeyError):
            continue
        if len(values) == 1:
            return values[0]
        if values:
            return values if convert is not int and convert is not float else np.array(values)
    return text
