"""How units are written on products: names, abbreviations, symbols, their OCR confusions, in six languages."""

import re
from decimal import Decimal

_SPELLINGS = {
    "millimetre": r"mm|㎜|мм|毫米|millim[eè]t(?:er|re|ri|ro)s?|mil[ií]metros?",
    "centimetre": r"c?cms?|om|㎝|crn|см|厘米|公分|centim[eè]t(?:er|re|ri|ro)s?|cent[ií]metros?|zentimeter",
    "inch": r"inch(?:es|s)?|[l|]nch(?:es)?"
    r"|ins?\.?(?![\s.-]*(?-i:[1Il])\b(?![.,/][0-9])|\s+(?:one|the|an?|your|our|stock|total|all|each|this|just)\b)"
    r"|(?<=[.,][0-9])n|(?<=[.,][0-9][0-9])n|英寸|zoll|pouces?|pulgadas?|polegadas?|pollic[ei]",
    "foot": r"ft(?![23²³^](?![0-9]|\s?(?:in|[\"'])))\.?|f[eo]et|foot",
    "yard": r"yards?|yds?\.?",
    "kilogram": r"k[gq9](?:s|r)?\.?|㎏|кг|千克|公斤|[kq]uilos?|kilos?|kilogram(?:me|m|o|a|mi)?s?",
    "milligram": r"mgs?\.?|㎎|мг|毫克|milligram(?:me|m|mi)?s?|miligramos?",
    "microgram": r"mcg|[µμu]g|microgram(?:me|m)?s?",
    "fluid ounce": r"(?<=[0-9])r[o0]z"
    r"|(?:u\.?s\.?\s?)?f[l1|i](?:uid)?\.?\s?(?:[o0][z2]\.?s?|ounces?)|[o0]z\.?\s?\(?fl\.?\)?|fl\.?\s?onz\.?",
    "ounce": r"[o0]zs?\.?|02(?=\.?\s?[(/])|ounces?|onzas?|onces?",
    "pound": r"[l1|i]bs?\.?|(?<=[0-9])tbs|pounds?|libras?|libbre|pfund",
    "ton": r"tons?|tonn(?:e|en|es)|toneladas?|тонн?|吨",
    "millilitre": r"m[l1|ℓ]s?e?\.?|㎖|мл|毫升|millilit(?:er|re|ri|ro)s?|mililitros?|cc|㏄",
    "centilitre": r"cl\.?|centilit(?:er|re|ri|ro)s?",
    "decilitre": r"dl\.?|decilit(?:er|re|ri|ro)s?",
    "microlitre": r"[µμu]l|microlit(?:er|re)s?",
    "cubic foot": r"cu(?:bic|\.)?\s?(?:feet|foot|ft\.?)|ft(?:³|\^?3)",
    "cubic inch": r"cu(?:bic|\.)?\s?(?:inch(?:es)?|in\.?)|in(?:³|\^?3)",
    "imperial gallon": r"imp(?:erial|\.)?\s?gal(?:lons?|\.)?",
    "gallon": r"(?:u\.?s\.?\s?)?gal(?:lons?|s|\.)?|galones",
    "quart": r"quarts?|qts?\.?",
    "pint": r"pints?|pts?\.?",
    "cup": r"cups?|tazas?|tasses?",
    "litre": r"ltrs?\.?|lts?\.?|lit(?:er|re|ers|res|ri|ro|ros)|l|ℓ|л(?:итр(?:а|ов)?)?|升(?!级)",
    "metre": r"met(?:er|re|ers|res|ro|ros|ri)|m[èe]tres?|mtrs?\.?|mts\.?|m|м(?:етр(?:а|ов)?)?|米",
    "gram": r"(?!(?:(?<=[^.,0-9][1-6])|(?<=^[1-6]))(?-i:G)\b)g[rm]?s?\.?|г(?:р(?:амм(?:а|ов)?)?)?|克"
    r"|gram(?:me|m|o|a|mi)?s?",
    "kilowatt": r"kilowatts?|kw|квт|千瓦",
    "watt": r"watt(?:s|age)?|vatios|w|вт(?!\s?[·*]\s?ч)|ватт|瓦(?!时|小时)",
    "kilovolt": r"kilovolts?|kv",
    "millivolt": r"millivolts?|mv",
    "volt": r"(?:vol?[tk](?:s|age)?|voltios|v|в(?:ольт)?|伏)(?:\s?\(?(?:[ad]\.?c(?![a-z])\.?|⎓|~(?!\s?[0-9]))\)?)?",
}
"""By name. Order matters where one spelling begins another (``fl oz`` before ``l``): the longest is not sought."""

_AFTER = r"(?![a-zа-яµμ²³])(?!(?<=[fmn])\s?[23]\b(?![.,/]))"
"""A unit ends where no letter follows; ``cm2`` and ``m³`` are no lengths."""

_NOUNS = (
    r"(?:l?ith|li-?ion|ion|lxt|max|cordless|brushless|batter|led|bulb|lamp|light|solar|power|motor|fast|output|input|"
    r"adapter|charger|heat|jar|bottle|can\b|bag|pack|tub\b|tube|box|pouch|cup|tumbler|glass|mug|net|total|each|approx|"
    r"capacity|weight|load|usb|one\+|a{2,3}\b|wide\b|high\b|tall\b|long\b|deep\b|dia)"
)
_GLUED = (
    r"(?=e(?:net|(?![a-z])))(?<=[0-9][gl])|(?=e(?:net|(?![a-z])))(?<=[0-9][kcm][gl])"  # the e-mark: 500ge
    rf"|(?<=[0-9][vwgl])(?={_NOUNS})|(?<=[0-9](?:oz|ml|kg|lb|cm|mm|in|ft))(?={_NOUNS})"  # 18VLITHIUM
    rf"|(?<=[0-9]inch)(?={_NOUNS})"
    r"|(?<=[0-9](?:oz|ml|kg|lb|cm|mm))(?=[a-z]{3})(?<!oz(?=o))"  # no word begins with these
    r"|(?<=[0-9]v)(?=[b-df-hj-np-tv-xz][a-z])|(?<=[0-9]w)(?=[b-dfgj-np-qs-tvxz][a-z])"  # nor with V or W and these
    r"|(?<=[0-9](?:cm|mm|in|ft))(?=(?-i:[LWHD])(?![a-z0-9]))"  # 20cmH: the letter of an axis
    r"|(?=x\s?[0-9])"
)
"""What may follow a unit without a gap where the unit itself follows its number so."""

_WORDS = "|".join(rf"(?P<{name.replace(' ', '_')}>{spelling})" for name, spelling in _SPELLINGS.items())

_MARKS = r"""(?P<inches>''|"|°(?=\s?x\s?[0-9]))|(?P<feet>'(?![a-wyz]|x[a-z]))"""

UNIT = re.compile(rf"(?:(?:{_WORDS})(?:{_AFTER}|{_GLUED})|{_MARKS})", re.IGNORECASE)
"""One unit at a place of a text; `name_of` tells which."""

_PER = {
    "length": (
        ("millimetre", "0.001"), ("centimetre", "0.01"), ("metre", "1"), ("inch", "0.0254"), ("foot", "0.3048"),
        ("yard", "0.9144"),
    ),
    "weight": (
        ("microgram", "0.000001"), ("milligram", "0.001"), ("gram", "1"), ("kilogram", "1000"), ("ton", "907184.74"),
        ("ounce", "28.349523"), ("pound", "453.59237"),
    ),
    "volume": (
        ("microlitre", "0.001"), ("millilitre", "1"), ("centilitre", "10"), ("decilitre", "100"), ("litre", "1000"),
        ("fluid ounce", "29.573530"), ("cup", "236.588237"), ("pint", "473.176473"), ("quart", "946.352946"),
        ("gallon", "3785.411784"), ("imperial gallon", "4546.09"), ("cubic inch", "16.387064"),
        ("cubic foot", "28316.846592"),
    ),
    "voltage": (("millivolt", "0.001"), ("volt", "1"), ("kilovolt", "1000")),
    "power": (("watt", "1"), ("kilowatt", "1000")),
}  # fmt: skip

DIMENSION: dict[str, str] = {unit: dimension for dimension, units in _PER.items() for unit, _ in units}
"""What a unit measures: length, weight, volume, voltage, power."""

SIZE: dict[str, Decimal] = {unit: Decimal(size) for units in _PER.values() for unit, size in units}
"""One unit in metres, grams, millilitres, volts or watts (US customary units, the short ton)."""


_SYMBOLS = {"inches": "inch", "feet": "foot"}


def name_of(match: re.Match[str]) -> str:
    """The allowed name of the unit that `UNIT` matched."""
    group = match.lastgroup or ""
    return _SYMBOLS.get(group) or group.replace("_", " ")
