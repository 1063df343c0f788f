"""Who is computing what, so that campaigns that share a cache compute no structure twice.

A claim is a row with the process that made it and the time of its last heartbeat. It ends with the
label, with the process, or when its heartbeats stop: a machine that lost its power releases
nothing. Every function here runs inside a transaction of the cache.
"""

import os
import socket
import sqlite3
import time

import psutil

HEARTBEAT_S = 60.0
"""Time between two heartbeats of a process that labels."""
EXPIRES_AFTER_S = 600.0
"""A claim whose last heartbeat is older has ended.

Long, because the clocks of hosts that share a cache may differ by minutes.
"""

TABLE = """
CREATE TABLE IF NOT EXISTS claims (
    structure_hash TEXT NOT NULL,
    level_hash TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    heartbeat REAL NOT NULL, -- seconds since the epoch
    PRIMARY KEY (structure_hash, level_hash)
)
"""


def take(connection: sqlite3.Connection, structure_hash: str, level_hash: str) -> bool:
    """Claim a structure for this process; False when another one that is alive has it."""
    row = connection.execute(
        "SELECT host, pid, heartbeat FROM claims WHERE structure_hash = ? AND level_hash = ?",
        (structure_hash, level_hash),
    ).fetchone()
    if row is not None and _is_held_by_another(*row):
        return False
    connection.execute(
        "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)",
        (structure_hash, level_hash, *_this_process(), time.time()),
    )
    return True


def renew(connection: sqlite3.Connection) -> None:
    """Write the time of a heartbeat into every claim of this process."""
    connection.execute(
        "UPDATE claims SET heartbeat = ? WHERE host = ? AND pid = ?",
        (time.time(), *_this_process()),
    )


def release(connection: sqlite3.Connection, structure_hash: str, level_hash: str) -> None:
    """End a claim of this process."""
    connection.execute(
        "DELETE FROM claims WHERE structure_hash = ? AND level_hash = ? AND host = ? AND pid = ?",
        (structure_hash, level_hash, *_this_process()),
    )


def _this_process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


def _is_held_by_another(host: str, pid: int, heartbeat: float) -> bool:
    if (host, pid) == _this_process() or time.time() - heartbeat > EXPIRES_AFTER_S:
        return False
    return host != socket.gethostname() or _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        # A killed process keeps its pid until its parent has asked for its exit code.
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
