"""The box of a text or of a product on a picture."""

from typing import NamedTuple


class Box(NamedTuple):
    """Left, top, right, bottom as shares of the picture's width and height."""

    left: float
    top: float
    right: float
    bottom: float


WHOLE = Box(0.0, 0.0, 1.0, 1.0)
"""That of a whole picture."""
