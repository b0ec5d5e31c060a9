"""Make model images of decoded ones: resize, CLAHE, unsharp mask, on 8-bit BGR arrays of shape (h, w, 3)."""

from src.images.decode import cv2, halvings, np
from src.settings import EnhanceSettings

_MAX_SPREAD = 4
"""Levels of 255 by which lossy compression may spread a single colour."""


def is_blank(image: np.ndarray) -> bool:
    """Tell whether an image has one colour only: a placeholder of a download that failed."""
    # OpenCV does it: NumPy takes as long for it as all other work on an image together.
    ranges = (cv2.minMaxLoc(cv2.extractChannel(image, channel)) for channel in range(image.shape[2]))
    return all(high - low <= _MAX_SPREAD for low, high, *_ in ranges)


def resize(image: np.ndarray, max_size: int, full_size: tuple[int, int] | None = None) -> np.ndarray:
    """Shrink so that the long side is at most ``max_size``, aspect ratio kept; never enlarge.

    ``full_size`` (width, height) gives the ratio for an image that was decoded at less than its full size.

    Means of 2x2, 4x4, ... pixels come first, to less than twice the target, then bilinear interpolation:
    below a factor of two every pixel still counts, at an eighth of the cost of INTER_AREA (text stays as
    legible, see benchmarks/README.md).
    """
    width, height = full_size or image.shape[1::-1]
    scale = max_size / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    height, width = image.shape[:2]
    fraction = halvings(max(height, width), max_size)
    if fraction > 1 and min(height, width) >= fraction:
        image = cv2.resize(image, (width // fraction, height // fraction), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def _lightness_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return tables from the 256 grey levels of sRGB to L* of CIELAB, scaled to 0..255, and back.

    Source: IEC 61966-2-1, CIE 15.
    """
    level = np.arange(256) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    lightness = np.where(linear > (6 / 29) ** 3, 1.16 * np.cbrt(linear) - 0.16, linear * (29 / 3) ** 3 / 100)
    to = np.rint(255 * lightness)
    back = np.rint(255 * np.interp(np.arange(256) / 255, lightness, level))
    return to.astype(np.uint8), back.astype(np.uint8)


_TO_LIGHTNESS, _FROM_LIGHTNESS = _lightness_tables()


def clahe(luma: np.ndarray, clip_limit: float) -> np.ndarray:
    """Equalise lightness by a contrast-limited adaptive histogram of 8x8 tiles.

    ``luma`` is Y of YCrCb, uint8 (h, w). It is equalised on the scale of L*, so greys come out as from CLAHE
    on L of LAB; only saturated colours differ a little, and the two conversions to and from LAB (5 ms) are
    saved. Source: Zuiderveld, Graphics Gems IV, 1994.
    """
    equalised = cv2.createCLAHE(clip_limit, (8, 8)).apply(cv2.LUT(luma, _TO_LIGHTNESS))
    return cv2.LUT(equalised, _FROM_LIGHTNESS)


def unsharp(image: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    """Return ``image + strength * (image - gaussian(image, sigma))``, clipped to 0..255: the unsharp mask."""
    blurred = cv2.GaussianBlur(image, (0, 0), sigma)
    return cv2.addWeighted(image, 1 + strength, blurred, -strength, 0)


def enhance(
    image: np.ndarray, settings: EnhanceSettings, full_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Return the model image: `resize`, then CLAHE and unsharp mask of the luma; colours are kept."""
    resized = cv2.cvtColor(resize(image, settings.max_size, full_size), cv2.COLOR_BGR2YCrCb)
    luma = clahe(cv2.extractChannel(resized, 0), settings.clip_limit)
    cv2.insertChannel(unsharp(luma, settings.sigma, settings.strength), resized, 0)
    return cv2.cvtColor(resized, cv2.COLOR_YCrCb2BGR)
