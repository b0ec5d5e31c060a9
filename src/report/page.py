"""Gathers what a run left and writes its page, one self-contained HTML file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from src.data.errors import InputError
from src.data.files import write_whole
from src.data.folders import DataFolder, ProcessedFolder, RunFolder
from src.data.names import read_files
from src.data.processed import read_manifest
from src.data.samples import train_samples
from src.data.tables import read_table, read_train
from src.data.text_store import TextStore
from src.entities import ENTITY_UNITS
from src.metrics import read_truth
from src.model.prompts import END, prompt
from src.report import images as page_images
from src.report import summary
from src.report.rows import OUTCOMES, Row, number, outcome_of, shown_rows, test_rows, weighed
from src.training import adapter, audit

ROWS = 500
"""Rows that are shown unless told otherwise."""
MOST_ROWS = 5000
MOST_BYTES = 30_000_000
_TEMPLATES = Path(__file__).parent


def write_report(
    out: Path,
    data: Path | None = None,
    rows: int = ROWS,
    train: bool = False,
    times: Mapping[str, float] | None = None,
) -> Path:
    """Write ``out/report.html`` for at most ``rows`` test rows, and with ``train`` as many train rows; return
    its path.

    ``data`` is the run's data folder (for the truth and the train rows), ``times`` the seconds of its stages;
    what is not given comes from `RunFolder.record`, where there is one. Raises `InputError`.
    """
    if not 1 <= rows <= MOST_ROWS:
        raise InputError(f"rows is {rows}: it must be from 1 to {MOST_ROWS}, or the page gets too large")
    folder = RunFolder(out)
    noted = _noted(folder.record)
    data = data or (Path(noted["data"]) if "data" in noted else None)
    if train and (data is None or not data.is_dir()):
        raise InputError(f"{out}: does not say where its train rows are; give --data")
    record = adapter.load_record(folder.adapter)
    all_rows = test_rows(_details(folder.details), _truths(data))
    texts = TextStore(folder.processed) if ProcessedFolder(folder.processed).texts else None
    shown = shown_rows(all_rows, rows)
    if train and data is not None:
        shown += _train_rows(data, folder.processed, record, texts, rows)
    context: dict[str, Any] = summary.summary(all_rows, _held_out(record), times or noted.get("times", {}))
    context["skipped"] = summary.skipped(all_rows, folder.processed, data)
    context["title"] = out.resolve().name
    context["facts"] = _facts(all_rows, shown, record)
    write_whole(folder.report, _page(context, shown, folder.processed, texts))
    return folder.report


def _page(context: dict[str, Any], shown: Sequence[Row], processed: Path, texts: TextStore | None) -> str:
    """The page's HTML, within `MOST_BYTES`."""
    images = _images(processed)
    asked: dict[str, list[str]] = {}
    for row in shown:
        asked.setdefault(row.picture, []).append(row.entity)
    looks = page_images.looks(processed, asked, images, texts)
    for row in shown:
        look = looks[row.picture]
        row.note = look.error
        try:
            row.options = weighed(row, look.found, look.drawn)
        except Exception as error:  # one row's: the others are shown
            row.note = f"options not shown ({type(error).__name__}: {error})"
    names = list(asked)
    data = {
        "rows": [asdict(row) | {"picture": names.index(row.picture)} for row in shown],
        "pictures": [looks[name].entry(name) for name in names],
        "questions": {entity: prompt(entity).partition("> ")[2].partition(END)[0] for entity in ENTITY_UNITS},
        "outcomes": OUTCOMES,
    }
    budget = MOST_BYTES - 200_000 - len(json.dumps(data)) * 11 // 10
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        context,
        data=data,
        uris=page_images.uris(processed, names, budget),
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup((_TEMPLATES / "page.js").read_text(encoding="utf-8")),
    )


def _noted(path: Path) -> dict[str, Any]:
    """What ``make run`` noted of itself: ``data`` (its folder), ``times`` (seconds by stage); empty
    without."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _details(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: not found; run make run, or src.predict, first")
    return read_table(path, ["index", "image_link", "entity_name", "prediction"])


def _truths(data: Path | None) -> dict[int, str]:
    if data is None or not DataFolder(data).truth.is_file():
        return {}
    table = read_truth(DataFolder(data).truth)
    return dict(zip(table["index"].tolist(), table["truth"], strict=True))


def _images(processed: Path) -> dict[str, str]:
    """Processed picture -> source image."""
    if not ProcessedFolder(processed).is_made:
        return {}
    table = read_manifest(processed, ["image", "file"])
    return dict(zip(table["file"], table["image"], strict=True))


def _answers(record: Mapping[str, Any]) -> pd.DataFrame:
    """The held-out answers of an adapter's record: ``row, entity, truth, model_answer, confidence,
    silence``."""
    table = pd.DataFrame(record.get("answers", []))
    return table if "model_answer" in table else table.rename(columns={"prediction": "model_answer"})


def _held_out(record: Mapping[str, Any]) -> pd.DataFrame:
    table = _answers(record)
    columns = {"entity": "entity", "truth": "truth", "model_answer": "answer", "confidence": "chance"}
    return table.reindex(columns=list(columns)).rename(columns=columns)


def _train_rows(
    data: Path, processed: Path, record: Mapping[str, Any], texts: TextStore | None, count: int
) -> list[Row]:
    """At most ``count`` train rows, held-out ones first, with label, verdict and the model's answer if there
    is one."""
    samples, _ = train_samples(read_train(data), processed, read_files(data))
    held = {(cells["row"], cells["entity"]): cells for cells in _answers(record).to_dict("records")}
    order = np.random.default_rng(0).permutation(len(samples)).tolist()
    order.sort(key=lambda i: (samples[i].row, samples[i].entity) not in held)
    shown = []
    for sample in (samples[i] for i in sorted(order[:count])):
        answer = held.get((sample.row, sample.entity), {})
        given = answer.get("model_answer", "")
        row = Row(
            str(sample.row),
            "train",
            sample.picture.name,
            sample.image,
            sample.entity,
            given,
            truth=sample.answer,
        )
        if answer:
            row.source, row.model_answer, row.outcome = "model", given, outcome_of(given, sample.answer)
            row.confidence, row.silence = number(answer.get("confidence")), number(answer.get("silence"))
            row.chance = row.confidence
        if texts is not None:
            row.verdict = audit.judge(texts[sample.image], sample.entity, sample.answer).verdict
            row.action = audit.ACTIONS[row.verdict]
        row.asked = bool(answer)
        shown.append(row)
    return shown


def _facts(rows: Sequence[Row], shown: Sequence[Row], record: Mapping[str, Any]) -> list[str]:
    """What the page is of, in a few words each."""
    answered = sum(bool(row.answer) for row in rows)
    facts = [f"{len(rows):,} test rows", f"{answered:,} with an answer"]
    if record:
        facts.append(
            f"{record.get('settings', {}).get('model', 'a model')} trained on {record.get('trained_on', 0):,} rows"
        )
    if len(shown) != len(rows):
        facts.append(f"{len(shown):,} rows on this page")
    return facts
