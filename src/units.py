"""The table of units: their sizes, how products and OCR spell them, and how synthetic images print them.

A new spelling is an alternative in a row of `UNITS`, a new unit a row. Units that no answer may use are
there, too: some are converted (stone to pound), others only recognised, so that they are not taken for
another (lumen, hertz). `src.reading.units` finds them in a text.
"""

from decimal import Decimal
from decimal import Decimal as D
from typing import NamedTuple


class Unit(NamedTuple):
    """A unit of measure.

    ``dimension``: length, weight, volume, voltage, power or `OTHER`; a new entity may bring another.
    ``size``: one unit in metres, grams, millilitres, volts or watts (US customary units, the short ton).
    ``spellings``: a regular expression, matched without case except in ``(?-i:)``. ``answer``: the unit it is
    converted to if no answer may use it. ``printed``: the forms that synthetic images write right after the
    number, with ``|`` between them, and ``beside``: the unit of the same amount that some print beside it.
    """

    name: str
    dimension: str
    size: Decimal
    spellings: str
    answer: str = ""
    printed: str = ""
    beside: str = ""


OTHER = "other"
"""Dimension of units that measure nothing the challenge asks for."""

_INCH = (
    r"inch(?:es|s)?|[l|]nch(?:es)?"
    r"|ins?\.?(?![\s.-]*(?-i:[1Il])\b(?![.,/][0-9])|\s+(?:one|the|an?|your|our|stock|total|all|each|this|just)\b)"
    r"|(?<=[.,][0-9])n|(?<=[.,][0-9][0-9])n|英寸|zoll|pouces?|pulgadas?|polegadas?|pollic[ei]"
)
_GRAM = (
    r"(?!(?:(?<=[^.,0-9][1-6])|(?<=^[1-6]))(?-i:G)\b)g[rm]{0,2}s?\.?|г(?:р(?:амм(?:а|ов)?)?)?|克"
    r"|gram(?:me|m|o|a|mi)?s?"
)
_VOLT = (
    r"(?:vol?[tk](?:s|age)?|voltios|v|в(?:ольт)?|伏)(?:\s?\(?(?:[ad]\.?c(?![a-z])\.?|⎓|~(?!\s?[0-9]))\)?)?"
)

UNITS: list[Unit] = [
    Unit("watt of an energy label", "power", D("1"), r"kwh\s?/\s?1[.,]?000\s?h", "watt"),
    Unit("kilowatt hour", OTHER, D("1"), r"k?w(?:\s?[·.*]\s?)?h(?:r|rs|our|ours)?|к?вт(?:\s?[·.*]\s?)?ч"
         r"|千?瓦(?:时|小时)"),
    Unit("ampere hour", OTHER, D("1"), r"m?ah|va|ma|amps?|amperes?"),
    Unit("lumen", OTHER, D("1"), r"lms?|[i|]m(?=[/\s]|$)|lumens?|lux|лм|流明"),
    Unit("hertz", OTHER, D("1"), r"[kmg]?hz|rpm|db|ppm|dpi|psi|bar|[kmg]b|[km]?pa|mbps|atm|fps|cfm|gpm|lph"
         r"|gph|mmhg"),
    Unit("torque or energy", OTHER, D("1"), r"n[·.\-]?m|newton[- ]?met(?:er|re)s?|joules?|k?cal|kj"),
    Unit("millimetre", "length", D("0.001"), r"mms?|㎜|мм|毫米|millim[eè]t(?:er|re|ri|ro)s?|mil[ií]metros?",
         printed="mm| mm|MM", beside="inch"),
    Unit("cubic centimetre", "volume", D("1"), r"c\.\s?c\.?|ccm|cc|㏄|cm(?:³|\^?3(?![.,]?[0-9]))",
         "millilitre"),
    Unit("cubic decimetre", "volume", D("1000"), r"dm(?:³|\^?3(?![.,]?[0-9]))", "litre"),
    Unit("decimetre", "length", D("0.1"), r"(?-i:dm)|d[eé]cim[eè]t(?:er|re|ri|ro)s?|dezimeter", "centimetre"),
    Unit("centimetre", "length", D("0.01"), r"c?cms?|(?-i:c\sm|om)|㎝|crn|см|厘米|公分"
         r"|centim[eè]t(?:er|re|ri|ro)s?|cent[ií]metros?|zentimeter",
         printed="cm| cm|CM| cm|Cm", beside="inch"),
    Unit("inch", "length", D("0.0254"), _INCH, printed='"|in| in| inch|"| inches|inch', beside="centimetre"),
    Unit("foot", "length", D("0.3048"), r"ft(?![23²³^](?![0-9]|\s?(?:in|[\"'])))\.?|f[eo]et|foot|fuß",
         printed="ft| ft| feet", beside="metre"),
    Unit("yard", "length", D("0.9144"), r"yards?|yds?\.?"),
    Unit("kilogram", "weight", D("1000"), r"k[gq9](?:s|r)?\.?|(?-i:k\sg)|㎏|кг|千克|公斤|[kq]uilos?|kilos?"
         r"|kilogram(?:me|m|o|a|mi)?s?", printed="kg| kg|KG| Kg|kgs", beside="pound"),
    Unit("milligram", "weight", D("0.001"), r"mgs?\.?|㎎|мг|毫克|milligram(?:me|m|mi)?s?|miligramos?",
         printed="mg| mg|MG"),
    Unit("microgram", "weight", D("0.000001"), r"mcg|[µμu]g|microgram(?:me|m)?s?"),
    Unit("fluid ounce", "volume", D("29.573530"), r"(?<=[0-9])r[o0]z"
         r"|(?:u\.?s\.?\s?)?f[l1|i](?:uid)?\.?\s?(?:[o0][z2]\.?s?|ounces?)"
         r"|[o0]z\.?\s?\(?fl\.?\)?|fl\.?\s?onz\.?|f[l1|]\.?\s?[o0]?\.?(?=\s*(?:$|[(/]))",
         printed=" fl oz| FL OZ| fl. oz|fl.oz", beside="millilitre"),
    Unit("ounce", "weight", D("28.349523"), r"[o0]zs?\.?|02(?=\.?\s?[(/])|ounces?|onzas?|onces?|unzen?",
         printed="oz| oz| OZ| ounces", beside="gram"),
    Unit("stone", "weight", D("6350.29318"), r"st(?:ones?)?(?=[\s.,&]{0,3}[0-9]{1,2}\s?[l1|i]b)"
         r"|(?<=[0-9][0-9]\s)stone", "pound"),
    Unit("pound", "weight", D("453.59237"), r"[l1|i]bs?\.?|l8(?=s?\.?\s?[(/])|(?<=[0-9])tbs|pounds?|libras?"
         r"|libbre|pfund", printed="lb| lbs| lb|LBS| pounds", beside="kilogram"),
    Unit("ton", "weight", D("907184.74"), r"(?:(?:metric|u\.?s\.?|u\.?k\.?|short|long|imperial)\s)?"
         r"(?:tons?|tonn(?:e|en|es|s)|toneladas?|тонн?|吨)|t(?=\s(?:hydraul|jack|load|lift|capacit))",
         printed=" ton| tons|T"),
    Unit("millilitre", "volume", D("1"), r"m[l1|ℓ]s?e?\.?|(?-i:m\sl|M\sL)|㎖|мл|毫升"
         r"|milli-?\s?lit(?:er|re|ri|ro)s?|mililitros?", printed="ml| ml|mL|ML", beside="fluid ounce"),
    Unit("centilitre", "volume", D("10"), r"cl\.?|centilit(?:er|re|ri|ro)s?"),
    Unit("decilitre", "volume", D("100"), r"dl\.?|d[eé]cilit(?:er|re|ri|ro)s?"),
    Unit("microlitre", "volume", D("0.001"), r"[µμu]l|microlit(?:er|re)s?"),
    Unit("cubic foot", "volume", D("28316.846592"), r"cu(?:bic|\.)?\s?(?:feet|foot|ft\.?)|ft(?:³|\^?3)"),
    Unit("cubic inch", "volume", D("16.387064"), r"cu(?:bic|\.)?\s?(?:inch(?:es)?|in\.?)|in(?:³|\^?3)"),
    Unit("imperial gallon", "volume", D("4546.09"), r"(?:imp(?:erial|\.)?|u\.?k\.?|british)\s?"
         r"gal(?:lons?|s|\.)?|gal(?:lons?|s|\.)?\s?\(?(?:imp(?:erial)?|u\.?k)\b\.?"),
    Unit("gallon", "volume", D("3785.411784"), r"(?:u\.?s\.?\s?)?gal(?:lons?|s|\.)?|galones|gallonen",
         printed=" gal| gallon| Gallons"),
    Unit("quart", "volume", D("946.352946"), r"quarts?|qts?\.?"),
    Unit("pint", "volume", D("473.176473"), r"pints?|pts?\.?"),
    Unit("cup", "volume", D("236.588237"), r"cups?|tazas?|tasses?"),
    Unit("litre", "volume", D("1000"), r"ltrs?\.?|lts?\.?|lits?\b\.?|lit(?:er|re|ers|res|ri|ro|ros)|l|ℓ"
         r"|(?:(?<=[.,][0-9]\s)|(?<=[.,][0-9][0-9]\s))[1I|](?=\s*$)"
         r"|л(?:итр(?:а|ов)?)?|升(?!级)", printed="L| L| Litre|l", beside="gallon"),
    Unit("metre", "length", D("1"), r"met(?:er|re|ers|res|ro|ros|ri)|m[èe]tres?|mtrs?\.?|mts\.?|m"
         r"|м(?:етр(?:а|ов)?)?|米", printed="m| m| meters"),
    Unit("gram", "weight", D("1"), _GRAM, printed="g| g|gm| Grams|G|gr", beside="ounce"),
    Unit("kilowatt", "power", D("1000"), r"kilowatts?|kw|квт|千瓦", printed="kW| kW"),
    Unit("watt", "power", D("1"), r"watt(?:s|age)?|vatios|w|вт|ватт|瓦", printed="W| W| Watts|w| watt"),
    Unit("kilovolt", "voltage", D("1000"), r"kilovolts?|kv"),
    Unit("millivolt", "voltage", D("0.001"), r"millivolts?|mv"),
    Unit("volt", "voltage", D("1"), _VOLT, printed="V| V| Volt|VAC|V DC|v"),
    Unit("inch mark", "length", D("0.0254"), r"''|\"|°(?=\s?x\s?[0-9])", "inch"),
    Unit("foot mark", "length", D("0.3048"), r"'(?![a-wyz]|x[a-z])", "foot"),
]  # fmt: skip
"""All units; the first that matches is taken, so longer spellings stand first (``fl oz`` before ``l``)."""
