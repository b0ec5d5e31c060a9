"""What generated scenes say: units with the numbers that go with them, words, phrases, as on product
pictures."""

Span = tuple[float, float, float]
# unit -> (share, numbers: 2nd, 50th, 98th percentile; share with decimals; printed forms), as in the train
# rows
UNITS: dict[str, dict[str, tuple[float, Span, float, tuple[str, ...]]]] = {
    "length": {
        "centimetre": (0.50, (3, 23, 200), 0.28, ("cm", " cm", "CM", " cm", "Cm")),
        "inch": (0.34, (1, 8.5, 75), 0.62, ('"', "in", " in", " inch", '"', " inches", "inch")),
        "millimetre": (0.13, (6, 100, 800), 0.05, ("mm", " mm", "MM")),
        "foot": (0.02, (1, 6.5, 50), 0.2, ("ft", " ft", " feet")),
        "metre": (0.01, (1, 3, 20), 0.4, ("m", " m", " meters")),
    },
    "mass": {
        "gram": (0.60, (1, 83, 1800), 0.12, ("g", " g", "gm", " Grams", "G", "gr")),
        "kilogram": (0.15, (0.25, 4, 100), 0.4, ("kg", " kg", "KG", " Kg")),
        "milligram": (0.07, (5, 500, 5000), 0.02, ("mg", " mg", "MG")),
        "ounce": (0.09, (0.2, 7, 80), 0.4, ("oz", " oz", " OZ", " ounces")),
        "pound": (0.09, (0.2, 6, 200), 0.35, ("lb", " lbs", " lb", "LBS", " pounds")),
    },
    "load": {
        "kilogram": (0.50, (2, 100, 300), 0.05, ("kg", " kg", "KG", "kgs")),
        "pound": (0.40, (4, 240, 1000), 0.05, ("lb", " lbs", "LBS", " lb")),
        "gram": (0.05, (50, 500, 5000), 0.0, ("g", " g")),
        "ton": (0.05, (1, 3, 20), 0.3, (" ton", " tons", "T")),
    },
    "volume": {
        "millilitre": (0.50, (1, 150, 1600), 0.03, ("ml", " ml", "mL", "ML")),
        "fluid ounce": (0.30, (0.3, 5, 100), 0.35, (" fl oz", " FL OZ", " fl. oz", "fl.oz")),
        "litre": (0.15, (0.2, 3, 50), 0.3, ("L", " L", " Litre", "l")),
        "gallon": (0.05, (1, 10, 60), 0.1, (" gal", " gallon", " Gallons")),
    },
    "volt": {"volt": (1.0, (1.5, 36, 277), 0.15, ("V", " V", " Volt", "VAC", "V DC", "v"))},
    "watt": {
        "watt": (0.96, (1, 60, 2000), 0.06, ("W", " W", " Watts", "w", " watt")),
        "kilowatt": (0.04, (1, 3, 20), 0.5, ("kW", " kW")),
    },
}
KIND = {"item_weight": "mass", "maximum_weight_recommendation": "load", "item_volume": "volume", "voltage": "volt",
         "wattage": "watt"}  # fmt: skip
# second units that are printed beside a first one, with the factor
OTHER = {"centimetre": ("inch", 0.3937), "inch": ("centimetre", 2.54), "millimetre": ("inch", 0.03937),
          "foot": ("metre", 0.3048), "gram": ("ounce", 0.03527), "kilogram": ("pound", 2.2046),
          "ounce": ("gram", 28.35), "pound": ("kilogram", 0.4536), "millilitre": ("fluid ounce", 0.0338),
          "fluid ounce": ("millilitre", 29.57), "litre": ("gallon", 0.2642)}  # fmt: skip
WORDS = {
    "height": ("Height", "H", "Höhe", "Altura", "Hauteur", "Tall", "HEIGHT"),
    "width": ("Width", "W", "Breite", "Ancho", "Largeur", "Wide", "WIDTH"),
    "depth": ("Depth", "D", "Tiefe", "Profundidad", "Length", "Thickness", "LENGTH", "L"),
    "item_weight": ("Net Wt.", "Net weight", "Weight", "NET WT", "Gewicht", "Peso neto", "Item weight", "WEIGHT"),
    "maximum_weight_recommendation": ("Max load", "Load capacity", "Max. weight", "Holds up to", "Supports up to",
                                      "Weight capacity", "MAX LOAD", "Tragkraft", "Weight limit"),
    "item_volume": ("Volume", "Capacity", "Contents", "Inhalt", "Contenu", "Net"),
    "voltage": ("Voltage", "Input", "Rated voltage", "Spannung", "INPUT", "Power supply"),
    "wattage": ("Power", "Wattage", "Rated power", "Leistung", "Potencia", "Max power"),
}  # fmt: skip
GROSS = ("Gross weight", "G.W.", "Gross Wt.", "Shipping weight", "Peso bruto")
NOISE = ("Premium quality", "Easy to clean", "BPA free", "2 year warranty", "Made in Italy", "100% cotton", "New",
          "Pack of 2", "Model KX-210", "50/60 Hz", "Ref. 40718", "Size chart", "Product size", "DIMENSIONS", "2.4 A",
          "Organic", "Vitamin C", "For daily use", "360 degrees", "IP65", "5 years", "Stainless steel")  # fmt: skip
RANGES = ((100, 240), (220, 240), (110, 130), (110, 220), (200, 240), (85, 265))
