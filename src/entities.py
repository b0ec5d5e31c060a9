"""The entities of the challenge and the units that an answer may use.

Source: the rules of the Amazon ML Challenge 2024 (the organisers' ``constants.py``).
"""

_LENGTH = ("centimetre", "foot", "inch", "metre", "millimetre", "yard")
_WEIGHT = ("gram", "kilogram", "microgram", "milligram", "ounce", "pound", "ton")

ENTITY_UNITS: dict[str, tuple[str, ...]] = {
    "width": _LENGTH,
    "depth": _LENGTH,
    "height": _LENGTH,
    "item_weight": _WEIGHT,
    "maximum_weight_recommendation": _WEIGHT,
    "voltage": ("kilovolt", "millivolt", "volt"),
    "wattage": ("kilowatt", "watt"),
    "item_volume": (
        "centilitre",
        "cubic foot",
        "cubic inch",
        "cup",
        "decilitre",
        "fluid ounce",
        "gallon",
        "imperial gallon",
        "litre",
        "microlitre",
        "millilitre",
        "pint",
        "quart",
    ),
}

ALLOWED_UNITS: frozenset[str] = frozenset(unit for units in ENTITY_UNITS.values() for unit in units)
