"""Addresses of database servers, which are given in the place of a file."""

import re
from pathlib import Path

# As a `Path`, an address has lost one of its two slashes.
_START = re.compile(r"^(postgresql|postgres|mysql|mariadb):/{1,2}")
_PASSWORD = re.compile(r"(postgresql|postgres|mysql|mariadb):/{1,2}([^\s/@:\"]*):[^\s\"]*@")
_PASSWORD_OPTION = re.compile(r"([?&]password=)[^\s\"&]*")


def database_address(path: str | Path) -> str | None:
    """Return the address of a database server that is given as a path, or None for a file.

    >>> database_address(Path("postgresql://user@host:5432/labels"))
    'postgresql://user@host:5432/labels'
    >>> database_address("labels.db") is None
    True
    """
    text = str(path)
    return _START.sub(r"\1://", text) if _START.match(text) else None


def without_password(text: str) -> str:
    """Return a text to show, in which the passwords of addresses are replaced by three stars.

    >>> without_password("mysql://user:secret@host/labels: frame 0")
    'mysql://user:***@host/labels: frame 0'
    """
    return _PASSWORD_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1://\2:***@", text))
