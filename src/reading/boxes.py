"""The box of a text or of a product on a picture."""

from typing import NamedTuple


class Box(NamedTuple):
    """Left, top, right, bottom as shares of the picture's width and height."""

    left: float
    top: float
    right: float
    bottom: float

    def gaps(self, other: "Box") -> tuple[float, float]:
        """Return how far two boxes are apart across and down, in shares of the picture; negative where they
        overlap."""
        across = max(self.left, other.left) - min(self.right, other.right)
        return across, max(self.top, other.top) - min(self.bottom, other.bottom)


WHOLE = Box(0.0, 0.0, 1.0, 1.0)
"""That of a whole picture."""
