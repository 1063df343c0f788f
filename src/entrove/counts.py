"""Counts with their noun, for messages and pages."""


def format_count(count: int, singular: str) -> str:
    """Format a count with its noun.

    >>> format_count(1, "label"), format_count(1200, "label")
    ('1 label', '1,200 labels')
    """
    return f"{count:,} {singular}{'' if count == 1 else 's'}"
