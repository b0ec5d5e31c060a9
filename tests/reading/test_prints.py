"""Clean, common prints by kind, with their neighbours: what the rules answer to the lines of each."""

from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from src.reading.cross_line import parse_lines
from src.reading.options import find_options, rules_answer
from tests.conftest import run_python

AXES = ("width", "height", "depth")


def lines_of(text):
    """Return the OCR lines of a print on an image of 600 x 400 pixels, one under the other."""
    lines = []
    for row, part in enumerate(text.split("\n")):
        left, top, right, bottom = 20, 30 + 60 * row, 20 + 16 * len(part), 64 + 60 * row
        lines.append((part, 0.95, [[left, top], [right, top], [right, bottom], [left, bottom]]))
    return lines


def answered(text, entity):
    return rules_answer(find_options(parse_lines(lines_of(text), 600, 400), entity, None))[0]


LEGENDS = [  # width, height, depth
    ("H x W: 40 x 30 cm", "30 centimetre", "40 centimetre", None),
    ("L x W x H: 30 x 20 x 10 cm", "20 centimetre", "10 centimetre", "30 centimetre"),
    ("(W*D*H) 60*40*120cm", "60 centimetre", "120 centimetre", "40 centimetre"),
    ("60 x 40 x 120 cm (W x D x H)", "60 centimetre", "120 centimetre", "40 centimetre"),
    ("Dimensions (HxWxD):\n80 x 50 x 35 cm", "50 centimetre", "80 centimetre", "35 centimetre"),
    ("Maße (BxHxT): 60 x 40 x 120 cm", "60 centimetre", "40 centimetre", "120 centimetre"),
    ("Width x Height: 60 x 40 cm", "60 centimetre", "40 centimetre", None),
    ("Size (WxDxH): 50x35x80 cm", "50 centimetre", "80 centimetre", "35 centimetre"),
    ("WxHxD 24 x 36 x 12 in", "24 inch", "36 inch", "12 inch"),
    ("LWH: 12 x 8 x 4 inches", "8 inch", "4 inch", "12 inch"),
    ("Height x Width x Depth 30 x 20 x 10 cm", "20 centimetre", "30 centimetre", "10 centimetre"),
    ("Abmessungen (B x T x H) 45 x 30 x 90 cm", "45 centimetre", "90 centimetre", "30 centimetre"),
    ("40x30x20 cm\n(H x W x D)", "30 centimetre", "40 centimetre", "20 centimetre"),
    ("Dimensions LxPxH : 60 x 40 x 90 cm", "60 centimetre", "90 centimetre", "40 centimetre"),
    ("W x D x H: 23.6 x 15.7 x 47.2 in / 60 x 40 x 120 cm", "23.6 inch", "47.2 inch", "15.7 inch"),
    ("(W/D/H) 60/40/120 cm", "60 centimetre", "120 centimetre", "40 centimetre"),
    ("D x W x H (cm): 20 x 30 x 40", "30 centimetre", "40 centimetre", "20 centimetre"),
    ("60 x 40 (W x H) cm", "60 centimetre", "40 centimetre", None),
    ("Alto x Ancho x Fondo: 40 x 30 x 20 cm", "30 centimetre", "40 centimetre", "20 centimetre"),
    ("L*W*H=30*20*10cm", "20 centimetre", "10 centimetre", "30 centimetre"),
    ("w x h: 12cm x 18cm", "12 centimetre", "18 centimetre", None),
]
LABELLED = [
    ('12" Wide x 16" High x 2" Deep', "12 inch", "16 inch", "2 inch"),
    ("Length: 12cm Width: 16cm Height: 2cm", "16 centimetre", "2 centimetre", "12 centimetre"),
    ('Height 16", Width 12", Depth 2"', "12 inch", "16 inch", "2 inch"),
    ("20 cm (height) x 30 cm (width)", "30 centimetre", "20 centimetre", None),
    ('24W" x 36H"', "24 inch", "36 inch", None),
    ("L 12 W 16 H 2 cm", "16 centimetre", "2 centimetre", "12 centimetre"),
    ("Höhe: 40 cm Breite: 30 cm Tiefe: 20 cm", "30 centimetre", "40 centimetre", "20 centimetre"),
    ("30 cm wide, 40 cm tall, 20 cm deep", "30 centimetre", "40 centimetre", "20 centimetre"),
    ("Alto 40 cm | Ancho 30 cm | Fondo 20 cm", "30 centimetre", "40 centimetre", "20 centimetre"),
    ('18" L x 12" W x 6" H', "12 inch", "6 inch", "18 inch"),
    ("Width 30cm Height 40cm", "30 centimetre", "40 centimetre", None),
    ("H: 40cm W: 30cm D: 20cm", "30 centimetre", "40 centimetre", "20 centimetre"),
    ("40 cm H / 30 cm W / 20 cm D", "30 centimetre", "40 centimetre", "20 centimetre"),
    ("Width: 24 inches; Height: 36 inches", "24 inch", "36 inch", None),
    ("30cm (W) x 40cm (H)", "30 centimetre", "40 centimetre", None),
    ("Altura: 40 cm Largura: 30 cm Profundidade: 20 cm", "30 centimetre", "40 centimetre", "20 centimetre"),
    ("Width\n30 cm\nHeight\n40 cm", "30 centimetre", "40 centimetre", None),
    ("Height 40 cm\nWidth 30 cm", "30 centimetre", "40 centimetre", None),
    ("W12 H16 D2 cm", "12 centimetre", "16 centimetre", "2 centimetre"),
    ("12 x H 30 x 5 cm", "12 centimetre", "30 centimetre", None),
    ("40 x W30 x 20 cm", "30 centimetre", None, None),
    ("W30 x 40 x H20 cm", "30 centimetre", "20 centimetre", None),
    ("A 85 x L 60 x P 55 cm", "60 centimetre", "85 centimetre", "55 centimetre"),
    ("Size (cm): L 12 W 16 H 2", "16 centimetre", "2 centimetre", "12 centimetre"),
]


@pytest.mark.parametrize(("text", *AXES), [*LEGENDS, *LABELLED])
def test_sides_go_by_the_legend_or_the_word_beside_them(text, width, height, depth):
    for entity, want in zip(AXES, (width, height, depth), strict=True):
        assert want is None or answered(text, entity) == want


PRINTS = [
    # lumens are no metres
    *(("LED bulb 10W/810lm", axis, "") for axis in AXES),
    ("LED bulb 10W/810lm", "wattage", "10 watt"),
    ("85lm/W", "height", ""),
    ("85lm/W", "wattage", ""),
    ("9W 806lm 2700K", "width", ""),
    ("9W 806lm 2700K", "wattage", "9 watt"),
    ("1600 lumens 20W", "height", ""),
    ("LED 15W 1521lm", "depth", ""),
    # each word belongs to its own quantity
    ("Output 5V Input 100-240V", "voltage", "240 volt"),
    ("Input: 220V Output: 12V", "voltage", "220 volt"),
    ("5V output, 110V input", "voltage", "110 volt"),
    ("Eingang 230V Ausgang 24V", "voltage", "230 volt"),
    ("Gross weight 1.2 kg Net weight 1 kg", "item_weight", "1 kilogram"),
    ("Net weight 1 kg Gross weight 1.2 kg", "item_weight", "1 kilogram"),
    ("N.W.: 10kg G.W.: 12kg", "item_weight", "10 kilogram"),
    ("Max load 100 kg, weight 2 kg", "item_weight", "2 kilogram"),
    ("Max load 100 kg, weight 2 kg", "maximum_weight_recommendation", "100 kilogram"),
    ("Weight 2 kg, max load 100 kg", "item_weight", "2 kilogram"),
    ("Size 30 x 20 cm Max load 5 kg weight 300 g", "item_weight", "300 gram"),
    ("60W replacement uses only 9W", "wattage", "9 watt"),
    ("Replaces 60W uses 9W", "wattage", "9 watt"),
    ("9W = 60W equivalent", "wattage", "9 watt"),
    ("Uses 9 watts, equivalent to 60 watts", "wattage", "9 watt"),
    # the higher of alternatives, as of a range
    ("12V/24V", "voltage", "24 volt"),
    ("12/24V", "voltage", "24 volt"),
    ("3W/5W/7W", "wattage", "7 watt"),
    # values that are none
    ("316L STAINLESS STEEL", "item_volume", ""),
    ("304L stainless", "item_volume", ""),
    ("Edelstahl 316L", "item_volume", ""),
    ("Flow: 800L/H 15W", "item_volume", ""),
    ("Flow: 800L/H 15W", "wattage", "15 watt"),
    ("Q.max: 2500L/H 45W", "item_volume", ""),
    ("Q.max: 2500L/H 45W", "wattage", "45 watt"),
    ("Flow rate 1200 L/h", "item_volume", ""),
    ("400 GPH 25W", "wattage", "25 watt"),
    ("0.69kW·h/24h", "wattage", ""),
    ("1.2 kWh/day", "wattage", ""),
    ("WATER RESIST 100M", "height", ""),
    ("WATER RESIST\n100M", "height", ""),
    ("Water resistant 50m", "depth", ""),
    ("Control distance: 200m", "width", ""),
    ("Remote range 30 ft", "height", ""),
    ("Bluetooth range 10m", "height", ""),
    ("Reichweite 10 m", "width", ""),
    (
        "Working load limit 1500 lbs\nBreaking strength 4500 lbs",
        "maximum_weight_recommendation",
        "1500 pound",
    ),
    (
        "Breaking strength 4500 lbs\nWorking load limit 1500 lbs",
        "maximum_weight_recommendation",
        "1500 pound",
    ),
    ("WLL 500 kg\nMBS 2000 kg", "maximum_weight_recommendation", "500 kilogram"),
    ("5W-30 motor oil", "wattage", ""),
    ("10W-40 engine oil 1L", "wattage", ""),
    ("10W-40 engine oil 1L", "item_volume", "1 litre"),
    # words that are others than they begin like
    ("Gummy bears 250 g", "item_weight", "250 gram"),
    ("Maxwell House 500 g", "item_weight", "500 gram"),
    ("Charger 65W 120 g", "item_weight", "120 gram"),
    ("Support Stand 1.2 kg", "item_weight", "1.2 kilogram"),
    ("Stainless steel tank 400 L", "item_volume", "400 litre"),
    ("Waterproof tarp 3 m x 4 m", "width", "3 metre"),
    ("Range hood 0.6 m", "width", "0.6 metre"),
    ("per 100 ml", "item_volume", ""),
    ("Weight 12 kg/H 20 cm", "item_weight", "12 kilogram"),
    # the tail of a decimal
    ("1·5 kg", "item_weight", "1.5 kilogram"),
    ("1'5 L", "item_volume", "1.5 litre"),
    ("1 .5 kg", "item_weight", "1.5 kilogram"),
    ("1 ,5 kg", "item_weight", "1.5 kilogram"),
    ("0'75 L", "item_volume", "0.75 litre"),
    ("2•5 kg", "item_weight", "2.5 kilogram"),
    ("0 ,33 L", "item_volume", "0.33 litre"),
    ("1 .5 lb", "item_weight", "1.5 pound"),
    ("2’5 cm", "height", "2.5 centimetre"),
    ("0·5 l", "item_volume", "0.5 litre"),
    ("12 x 0,75 1", "item_volume", "0.75 litre"),
    # a weight among weights
    ("Max load 5kg\nWeight: 300g", "item_weight", "300 gram"),
    ("Max load 5kg\nWeight: 300g", "maximum_weight_recommendation", "5 kilogram"),
    ("G.W. 12 kg\nN.W. 10 kg", "item_weight", "10 kilogram"),
    ("Gross Wt 12 kg\nNet Wt 10 kg", "item_weight", "10 kilogram"),
    ("pro 100 g\n500 g", "item_weight", "500 gram"),
    ("per 100 g\n750 g", "item_weight", "750 gram"),
    ("Nährwerte je 100g\n250 g", "item_weight", "250 gram"),
    ("60W EQUIV.\n9W", "wattage", "9 watt"),
    ("40W EQ\n5W", "wattage", "5 watt"),
    ("7W\n60W EQUIVALENT", "wattage", "7 watt"),
    ("Abtropfgewicht 240g\nFüllmenge 400g", "item_weight", "400 gram"),
    ("Drained weight 240g\nNet weight 400g", "item_weight", "400 gram"),
    ("Peso escurrido 150 g Peso neto 250 g", "item_weight", "250 gram"),
    # spellings
    ("2 metric tons", "maximum_weight_recommendation", "2 ton"),
    ("2 US tons", "maximum_weight_recommendation", "2 ton"),
    ("3 short tons", "maximum_weight_recommendation", "3 ton"),
    ("2 UK gallons", "item_volume", "2 imperial gallon"),
    ("2 gal (UK)", "item_volume", "2 imperial gallon"),
    ("5 imperial gallons", "item_volume", "5 imperial gallon"),
    ("3 gallons (imp.)", "item_volume", "3 imperial gallon"),
    ("250 grms", "item_weight", "250 gram"),
    ("250 gms", "item_weight", "250 gram"),
    ("5 Lit", "item_volume", "5 litre"),
    ("5 Lits.", "item_volume", "5 litre"),
    ("50 c.c.", "item_volume", "50 millilitre"),
    ("50 ccm", "item_volume", "50 millilitre"),
    ("50 cm³", "item_volume", "50 millilitre"),
    ("18st 7lb", "item_weight", "259 pound"),
    ("12 st 5 lbs", "item_weight", "173 pound"),
    ("750 m l", "item_volume", "750 millilitre"),
    ("5 k g", "item_weight", "5 kilogram"),
    # small print that OCR misreads, where another unit or the line's end confirms it
    ("EWT 4.5 0 (127g)", "item_weight", "4.5 ounce"),
    ("EWT 4.5 0 (27g)", "item_weight", "4.5 ounce"),
    ("NET 12 (340g)", "item_weight", "12 ounce"),
    ("4.3% ALC BY VOL 10 FLO", "item_volume", "10 fluid ounce"),
    ("NET 16 FL", "item_volume", "16 fluid ounce"),
    ("355 (12 FL OZ)", "item_volume", "355 millilitre"),
]


@pytest.mark.parametrize(("text", "entity", "want"), PRINTS)
def test_clean_prints_are_answered(text, entity, want):
    assert answered(text, entity) == want


def test_neighbours_of_these_kinds_are_answered():
    """Prints written without sight of the code (tests/reading/prints.csv): 170 of these kinds, 149 of whole
    label panels."""
    rows = pd.read_csv(Path(__file__).with_name("prints.csv"), keep_default_na=False)
    answers = [
        answered(text.replace("\\n", "\n"), entity)
        for text, entity in zip(rows["text"], rows["entity"], strict=True)
    ]
    wrong = rows.assign(answer=answers).query("answer != want")
    assert wrong.empty, wrong.to_string()


def test_the_other_unit_confirms_a_misread_one():
    read = parse_lines(lines_of("Net Wt 28oz 7949"), 600, 400)
    assert [str(m.quantity) for m in read[0].mentions] == ["28 ounce", "794 gram"]


PRINTED = [  # one print of each kind, from its pixels
    ("H x W: 40 x 30 cm", "height", "40 centimetre"),
    ("Dimensions (HxWxD):\n80 x 50 x 35 cm", "width", "50 centimetre"),
    ("LED bulb 10W/810lm", "height", ""),
    ('12" Wide x 16" High x 2" Deep', "height", "16 inch"),
    ("Output 5V Input 100-240V", "voltage", "240 volt"),
    ("Max load 100 kg, weight 2 kg", "item_weight", "2 kilogram"),
    ("Flow: 800L/H 15W", "item_volume", ""),
    ("WATER RESIST 100M", "width", ""),
    ("1·5 kg", "item_weight", "1.5 kilogram"),
    ("G.W. 12 kg\nN.W. 10 kg", "item_weight", "10 kilogram"),
    ("2 UK gallons", "item_volume", "2 imperial gallon"),
    ("EWT 4.5 0 (127g)", "item_weight", "4.5 ounce"),
    ("0 ,33 L", "item_volume", "0.33 litre"),
]


def printed(text):
    """Return a white image of a print with letters of 34 pixels."""
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 34)
    image = Image.new("RGB", (900, 400), "white")
    ImageDraw.Draw(image).multiline_text((40, 60), text, "black", font, spacing=26)
    return image


def test_prints_are_answered_from_their_pixels(tmp_path):
    (tmp_path / "images").mkdir()
    rows = []
    for index, (text, entity, _) in enumerate(PRINTED):
        printed(text).save(tmp_path / "images" / f"{index}.png")
        rows.append((index, f"{index}.png", 0, entity))
    columns = ["index", "image_link", "group_id", "entity_name"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "test.csv", index=False)
    folders = ("--data", tmp_path, "--out", tmp_path / "processed")
    assert run_python("preprocess.py", *folders, "--ocr").returncode == 0
    answers = tmp_path / "rules_out.csv"
    processed = ("--processed", tmp_path / "processed")
    assert run_python("-m", "src.rules", "--data", tmp_path, *processed, "--out", answers).returncode == 0
    given = pd.read_csv(answers, keep_default_na=False)["prediction"]
    assert list(given) == [want for _, _, want in PRINTED]
