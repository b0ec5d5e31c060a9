"""Gathers what a run left and writes its page, one self-contained HTML file."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from src import ensemble, metrics
from src.data.details import read_details
from src.data.errors import InputError
from src.data.files import read_json, write_whole
from src.data.folders import DataFolder, ProcessedFolder, RunFolder
from src.data.names import read_files
from src.data.questions import Question, train_questions
from src.data.tables import TRAIN_COLUMNS, read_table, read_train
from src.data.text_store import TextStore
from src.entities import ENTITIES
from src.reading.image_text import ImageText
from src.report.comparison import figures, with_other_answers
from src.report.entries import PROBABILITIES, row_entry
from src.report.images import data_uris, image_entries
from src.report.reasons import FAILURES, LabelCounts
from src.report.rows import CHANGES, OUTCOMES, TEST, TRAIN, Row, held_out_rows, shown_rows, test_rows
from src.report.scores import skipped, summary
from src.rules import parse_images, with_text
from src.training import adapter, audit

ROWS = 2000
"""Rows that are shown unless told otherwise."""
MOST_ROWS = 5000
MOST_BYTES = 30_000_000
_TEMPLATES = Path(__file__).parent
_SCRIPTS = ("data.js", "reviews.js", "filters.js", "list.js", "detail.js", "zoom.js", "page.js")


def write_report(
    out: Path, data: Path | None = None, rows: int = ROWS, train: bool = False, compare: Path | None = None
) -> Path:
    """Write ``out/report.html``; return its path.

    It has at most ``rows`` test rows; the held-out rows, where no truth is known or with ``train``; and with
    ``train`` other train rows, up to ``rows`` with those. ``data`` is the run's data folder (for truth and
    labels); by default that of `RunFolder.record`, where there is one. ``compare``: another run's folder, or
    a CSV file of answers, to compare with. Raises `InputError`.
    """
    if not 1 <= rows <= MOST_ROWS:
        raise InputError(f"rows is {rows}: it must be from 1 to {MOST_ROWS}, or the page gets too large")
    run = RunFolder(out)
    noted = read_json(run.record)
    data = data or (Path(noted["data"]) if "data" in noted else None)
    if train and (data is None or not data.is_dir()):
        raise InputError(f"{out}: does not say where its train rows are; give --data")
    record = adapter.load_record(run.adapter)
    held_out = adapter.held_out(record) if record else []
    weights = ensemble.fit(held_out) if record else ensemble.PRIOR
    all_rows = test_rows(read_details(run.details), _truths(data), weights)
    if compare is not None:
        all_rows = with_other_answers(all_rows, compare)
    shown, chosen = shown_rows(all_rows, rows)
    others: list[Row] = []
    if train or all(row.truth is None for row in all_rows):
        others = held_out_rows(held_out)
    context = summary([*all_rows, *others], noted.get("times", {}))
    if train and data is not None:
        others = _train_rows(data, run, others, rows)
    context["comparison"] = None if compare is None else figures(all_rows, compare)
    context["skipped"] = skipped(all_rows, run.processed, data)
    context["title"] = out.resolve().name
    context["facts"] = _facts(all_rows, record)
    context["chosen"] = chosen
    context["prompt"] = record.get("prompt")
    texts = _texts([*shown, *others], run, record)
    write_whole(run.report, _page(context, [*shown, *others], run, texts, _label_counts(data)))
    return run.report


def _page(
    context: dict[str, Any],
    shown: Sequence[Row],
    run: RunFolder,
    texts: Mapping[str, ImageText],
    counts: LabelCounts,
) -> str:
    """Return the page's HTML, within `MOST_BYTES`."""
    groups: dict[str, list[Row]] = {}
    for row in shown:
        groups.setdefault(row.image, []).append(row)
    images = image_entries(run.processed, list(groups.values()), _store(run))
    for image, (first, *_) in zip(images, groups.values(), strict=True):
        text = texts.get(first.question.image)
        image["context"] = text.context if text else ""
    numbers = {name: number for number, name in enumerate(groups)}
    rows = [
        row_entry(row, name, numbers[row.image], counts, images[numbers[row.image]]["note"])
        for row, name in zip(shown, _names(shown), strict=True)
    ]
    data = {
        "rows": rows,
        "images": images,
        "questions": {name: entity.question for name, entity in ENTITIES.items()},
        "prompt": context["prompt"],
        "outcomes": OUTCOMES,
        "failures": FAILURES,
        "changes": CHANGES if context["comparison"] else {},
        "units": {name: entity.units for name, entity in ENTITIES.items()},
        "ranges": {f"{low}-{high}": f"{100 * low:.0f} to {100 * high:.0f} %" for low, high in PROBABILITIES},
        "chosen": context["chosen"],
    }
    budget = MOST_BYTES - 200_000 - len(json.dumps(data)) * 11 // 10
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        context,
        data=data,
        uris=data_uris(run.processed, list(groups), budget),
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup("\n".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in _SCRIPTS)),
    )


def _names(rows: Sequence[Row]) -> list[str]:
    """Return a name for each row that no other has: ``7``, ``train-7``, and ``train-7-depth`` for a made
    question."""
    names: list[str] = []
    taken: set[str] = set()
    for row in rows:
        name = f"{'' if row.table == TEST else 'train-'}{row.question.row}"
        names.append(f"{name}-{row.question.entity}" if name in taken else name)
        taken.add(names[-1])
    return names


def _store(run: RunFolder) -> TextStore | None:
    return TextStore(run.processed) if ProcessedFolder(run.processed).texts else None


def _texts(rows: Sequence[Row], run: RunFolder, record: Mapping[str, Any]) -> Mapping[str, ImageText]:
    """Return the parsed text of the rows' images; none where the prompts were without."""
    store = _store(run)
    if store is None or not record.get("settings", {}).get("ocr", True):
        return {}
    images = [row.question.image for row in rows if not row.question.reason]
    return parse_images(images, store, run.rules_journal)


def _label_counts(data: Path | None) -> LabelCounts:
    """Return the labels of train.csv by entity and group; none where it is not known."""
    if data is None or not DataFolder(data).train.is_file():
        return {}
    table = read_table(DataFolder(data).train, TRAIN_COLUMNS)
    labelled = table[table["entity_value"].ne("")]
    return Counter(zip(labelled["entity_name"], labelled["group_id"], strict=True))


def _truths(data: Path | None) -> dict[int, str]:
    """Return the true values by index; empty where they are not known."""
    if data is None or not DataFolder(data).truth.is_file():
        return {}
    table = metrics.read_truth(DataFolder(data).truth)
    return dict(zip(table["index"].tolist(), table["truth"], strict=True))


def _train_rows(data: Path, run: RunFolder, held_out: Sequence[Row], count: int) -> list[Row]:
    """Return the held-out rows and, up to ``count`` in all, other train rows, with the audit's verdicts."""
    questions, _ = train_questions(read_train(data), run.processed, read_files(data))
    held_out_keys = {_key(row.question) for row in held_out}
    others = [question for question in questions if _key(question) not in held_out_keys]
    sampled = np.random.default_rng(0).permutation(len(others))[: max(0, count - len(held_out))]
    others = [others[position] for position in sorted(sampled.tolist())]
    chosen = [question for question in questions if _key(question) in held_out_keys] + others
    verdicts: dict[tuple[int, str], str] = {}
    store = _store(run)
    if store is not None:
        texts = parse_images([question.image for question in chosen], store, run.rules_journal)
        chosen = with_text(chosen, texts)
        verdicts = {_key(q): audit.judge(q, texts[q.image].text).verdict for q in chosen}
    rows = [Row(q, TRAIN, q.label) for q in chosen if _key(q) not in held_out_keys]
    judged = ((row, verdicts.get(_key(row.question), "")) for row in (*held_out, *rows))
    return [replace(row, verdict=verdict, action=audit.ACTIONS.get(verdict, "")) for row, verdict in judged]


def _key(question: Question) -> tuple[int, str]:
    return question.row, question.entity


def _facts(rows: Sequence[Row], record: Mapping[str, Any]) -> list[str]:
    """Return what the page is about, in a few words each."""
    answered = sum(bool(row.answer) for row in rows)
    facts = [f"{len(rows):,} test rows", f"{answered:,} with an answer"]
    if record:
        model = record.get("settings", {}).get("model", "a model")
        facts.append(f"{model} trained on {record.get('trained_on', 0):,} rows")
    return facts
