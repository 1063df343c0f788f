"""What some tests of this folder need."""

import importlib.util

import pytest

needs_gpaw = pytest.mark.skipif(
    importlib.util.find_spec("gpaw") is None, reason="the reader of its text comes with GPAW"
)
