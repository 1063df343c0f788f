"""Labels on disk: every one that was computed, so that none is computed twice.

Read in this order::

    claims.py            which process computes which label, so that campaigns can share a cache
    import_records.py    which labels came from which file
    moments.py           the magnetic state that a label belongs to
    nearby.py            a structure found again after a file with few decimals, or turned
    superseded.py        the imported labels whose place a corrected one takes
    cache_schema.py      the tables of the SQLite file, and what its errors mean
    cache_file.py        the file, and its transactions
    cache_rows.py        one label as a row of it
    cache.py             LabelCache: labels by content hash and level of theory
    contradictions.py    two labels of one structure
    file_conventions.py  what the energies and stresses of a file mean
    imports.py           labels that were computed elsewhere
    listing.py           the labels of a work folder, and how quarantined ones are released
"""

from entrove.labelling.store.cache import LabelCache, LabelState
from entrove.labelling.store.import_records import ImportRecord
from entrove.labelling.store.imports import ImportReport, import_labels
from entrove.labelling.store.listing import (
    list_states,
    release_quarantined,
    unfinished_structures,
)

__all__ = [
    "ImportRecord",
    "ImportReport",
    "LabelCache",
    "LabelState",
    "import_labels",
    "list_states",
    "release_quarantined",
    "unfinished_structures",
]
