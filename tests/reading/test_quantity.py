import csv
import gzip
from collections import Counter

import pytest

from src.data.labels import USABLE_REASONS, normalise_label
from src.entities import ENTITIES
from src.reading.quantity import as_meant, canonical, parse_answer
from src.sanity import prediction_fault


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("500.0 gram", "500 gram"),
        ("12.50  centimetre ", "12.5 centimetre"),
        ("0 volt", "0 volt"),
        ("100 volt", "100 volt"),
        ("0.0001 gram", "0.0001 gram"),
        ("0.00000000001 gram", "0.00000000001 gram"),
        ("12 fluid  ounce", "12 fluid ounce"),
        ("5 Gram", "5 gram"),
        *(
            (bad, "")
            for bad in ("", "5", "gram", "5 lbs", "-5 gram", "2.2e2 gram", "5. gram", ".5 gram", "5 gram 2")
        ),
        ("60 ounce/1.7 kilogram", ""),
        ("5gram", ""),
    ],
)
def test_canonical(text, want):
    assert canonical(text) == want


def test_units_must_fit_the_entity():
    assert canonical("5 gram", "item_weight") == "5 gram"
    assert canonical("5 gram", "voltage") == ""
    assert parse_answer("5 gram", "colour") is None


@pytest.mark.parametrize(
    ("value", "entity", "want", "reason"),
    [
        ("500.0 gram", "item_weight", "500 gram", "ok"),
        ("", "height", "", "empty"),
        ("[100.0, 240.0] volt", "voltage", "240 volt", "range"),
        ("[240.0, 100.0] volt", "voltage", "240 volt", "range"),
        ("1.5 inch to 2 inch", "depth", "2 inch", "range"),
        ("0 kilogram to 2kilogram", "item_weight", "2 kilogram", "range"),
        ("1 inch to 2 foot", "depth", "", "units differ"),
        ("8.0 ounce", "item_volume", "8 fluid ounce", "unit repaired"),
        ("2.2e2 kilogram", "item_weight", "220 kilogram", "ok"),
        ("100 millilitre", "item_weight", "", "unit of another entity"),
        ("3.0 horsepower", "wattage", "", "unknown unit"),
        ("14 lbs", "item_weight", "14 pound", "spelling"),
        ("500grams", "item_weight", "500 gram", "spelling"),
        ("5 feet", "height", "5 foot", "spelling"),
        ('12.5"', "width", "12.5 inch", "spelling"),
        ("16 fl. oz.", "item_volume", "16 fluid ounce", "spelling"),
        ("10 st 7", "item_weight", "", "not a value"),
        ("50 cc", "item_volume", "50 millilitre", "spelling"),
        ("[100, 240] volts", "voltage", "240 volt", "range"),
        ("1.5 inches to 2 inches", "depth", "2 inch", "range"),
        ("60 hz", "voltage", "", "unknown unit"),
        ("14 lbs", "voltage", "", "unit of another entity"),
        ("5 gram", "colour", "", "unknown entity"),
        ("about 5 gram", "item_weight", "", "not a value"),
    ],
)
def test_labels(value, entity, want, reason):
    assert normalise_label(value, entity) == (want, reason)


def test_official_labels_are_canonical_or_named(real):
    reasons = Counter()
    with gzip.open(real / "challenge" / "train_197778_rows.csv.gz", "rt", newline="") as stream:
        for row in csv.DictReader(stream):
            label, reason = normalise_label(row["entity_value"], row["entity_name"])
            reasons[reason] += 1
            assert bool(label) == (reason in USABLE_REASONS)
            assert prediction_fault(label, row["entity_name"]) == ""
    assert sum(reasons.values()) == 197_778
    assert sum(reasons[reason] for reason in USABLE_REASONS) > 0.998 * 197_778


def test_every_unit_round_trips():
    for entity, units in ((name, entity.units) for name, entity in ENTITIES.items()):
        for unit in units:
            assert canonical(str(parse_answer(f"1.50 {unit}", entity))) == f"1.5 {unit}"


@pytest.mark.parametrize(
    ("quantity", "entity", "meant"),
    [
        ("700 metre", "height", "700 millimetre"),
        ("99 metre", "width", "99 metre"),
        ("1.5 metre", "depth", "1.5 metre"),
    ],
)
def test_a_product_is_no_hundred_metres_long(quantity, entity, meant):
    assert str(as_meant(parse_answer(quantity, entity), entity)) == meant
