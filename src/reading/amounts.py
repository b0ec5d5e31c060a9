"""What has a number and a unit and is no amount: rates, concentrations, prices, torques, errors of measuring, codes."""

import re
from decimal import Decimal

from src.reading.units import DIMENSION

_RATE = re.compile(
    r"\.?\s?(?:/\s?(?:h|hr|hrs|hour|min|minute|s|sec|second|day|week|month|year|kg|g|mg|l|ml|m[23²³]?|cm[23²³]|"
    r"(?:ft|yd|in)[23²³]|ft|sqm|sq\.?|cell)(?![a-z0-9])(?!\s?[0-9.:=])"
    r"|\s?per\s(?:hour|minute|second|day|metre|meter|m\b|m2|sq|kg|kilo|lit|ml\b|gram))",
    re.IGNORECASE,
)
"""After a unit: a rate or a concentration, which is no amount."""
_PRICE = re.compile(r"(?:[$€£¥₹]\s?[0-9][0-9.,]{0,8}|[0-9]\s?[$€£¥₹])\s?(?:/|per)\s?$", re.IGNORECASE)
_MEASURE = re.compile(r"(?:[0-9]|kcal|kj)\s?/\s?$", re.IGNORECASE)
"""Before 100 g or ml: what is told for so much of it."""
_TORQUE = re.compile(r"\s?[-.·]?\s?(?:lbs?|pounds?)(?![a-z])", re.IGNORECASE)
_CODE = re.compile(r"(?<=w)[-/]?[0-9]{2}(?![0-9.]|\s?[a-z])", re.IGNORECASE)  # 12W-30: an oil
_ERROR = re.compile(r"\s*(?:measur\w{1,8} |manual )?(?:error|deviation|tolerance|difference|误差)", re.IGNORECASE)
_ERROR_BEFORE = re.compile(r"(?:error|deviation|tolerance|误差)\W{0,3}(?:within |of |about )?$", re.IGNORECASE)


def is_no_amount(value: Decimal, unit: str, text: str, start: int, end: int) -> bool:
    """Whether ``value`` and ``unit`` in ``text[start:end]`` say no amount of anything."""
    if _RATE.match(text, end) or _PRICE.search(text, max(0, start - 16), start):
        return True
    before = text[max(0, start - 24) : start]
    if unit in ("gram", "millilitre") and value == 100 and _MEASURE.search(before):
        return True
    if DIMENSION[unit] == "length" and (
        _ERROR.match(text, end) or _ERROR_BEFORE.search(before) or _TORQUE.match(text, end)
    ):
        return True
    if unit == "watt" and _CODE.match(text, end):
        return True
    glued = text[end - 2].isdigit()
    return glued and unit == "volt" and value >= 1000 and value % 10 != 0  # 5018V: a model
