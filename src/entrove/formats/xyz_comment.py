"""The second line of an extended XYZ frame: `key=value` pairs with quotes, logicals and JSON."""

import json
import re
from typing import Any

import numpy as np

from entrove.formats.label_keys import meaning_of
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
_NEED_A_VALUE = ("Lattice", "Properties", "pbc")
_PAIR_OF_THE_FORMAT = re.compile(r"\b(lattice|properties|pbc)\s*=", flags=re.IGNORECASE)
_OF_CP2K = re.compile(r"\s*i\s*=\s*\d+,(\s*time\s*=\s*[-+.\dEe]+,)?\s*E\s*=\s*[-+.\dEe]+\s*")


def parse_comment(comment: str) -> dict[str, Any]:
    """Read the `key=value` pairs of a comment line.

    Values become integers, floats, logicals or arrays of them where all their words are such, and
    JSON after `_JSON`; a key without value is True. In plain XYZ such a word is part of a text:
    where it has the name of a label or of a key of the format, it is left out.
    Raises `BrokenFrameError` where the line is no list of such pairs.

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
            if meaning_of(key) is None and key not in _NEED_A_VALUE:
                info[key] = True
        else:
            text = _unquoted(text)
            info[key] = text if key.lower() == "uid" else parse_value(text)
        while position < len(comment) and comment[position].isspace():
            position += 1
    return info


def is_plain_text(comment: str) -> bool:
    """Whether a comment line has no key of the extended format, so that it may be any text.

    >>> is_plain_text("Bob's water"), is_plain_text('pbc="T T T"')
    (True, False)
    """
    return _PAIR_OF_THE_FORMAT.search(comment) is None


def is_of_cp2k(comment: str) -> bool:
    """Whether a comment line is one of CP2K's trajectories, whose `E` is in hartree.

    >>> is_of_cp2k(" i =   0, time =   0.000, E =   -17.16"), is_of_cp2k("i=0 E=-17.16")
    (True, False)
    """
    return _OF_CP2K.fullmatch(comment) is not None


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
    # Python takes 1_2 for a number, which no other program does.
    numbers = () if "_" in text else (int, float)
    for convert in (*numbers, LOGICAL.__getitem__):
        try:
            values = [convert(word) for word in words]
        except (ValueError, KeyError):
            continue
        if len(values) == 1:
            return values[0]
        if values:
            return values if convert is not int and convert is not float else np.array(values)
    return text
