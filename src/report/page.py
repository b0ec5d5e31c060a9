"""Gathers what a run left and writes its page, one self-contained HTML file."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from src import metrics
from src.data.details import read_details
from src.data.errors import InputError
from src.data.files import read_json, write_whole
from src.data.folders import DataFolder, ProcessedFolder, RunFolder
from src.data.names import read_files
from src.data.processed import read_manifest
from src.data.questions import Question, train_questions
from src.data.tables import read_table, read_train
from src.data.text_store import TextStore
from src.entities import ENTITIES
from src.report.images import data_uris, image_entries
from src.report.rows import OUTCOMES, Row, row_entry, shown_rows, test_rows
from src.rules import parse_images, with_text
from src.training import adapter, audit

ROWS = 500
"""Rows that are shown unless told otherwise."""
MOST_ROWS = 5000
MOST_BYTES = 30_000_000
_TEMPLATES = Path(__file__).parent
_BINS = 5
"""Parts of the reliability curve."""


def write_report(out: Path, data: Path | None = None, rows: int = ROWS, train: bool = False) -> Path:
    """Write ``out/report.html`` for at most ``rows`` test rows, and with ``train`` as many train rows; return
    its path.

    ``data`` is the run's data folder (for the truth and the train rows); by default that of
    `RunFolder.record`, where there is one. Raises `InputError`.
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
    all_rows = test_rows(read_details(run.details), _truths(data))
    store = TextStore(run.processed) if ProcessedFolder(run.processed).texts else None
    shown = shown_rows(all_rows, rows)
    if train and data is not None:
        shown += _train_rows(data, run, held_out, store, rows)
    context = summary(all_rows, held_out, noted.get("times", {}))
    context["skipped"] = skipped(all_rows, run.processed, data)
    context["title"] = out.resolve().name
    context["facts"] = _facts(all_rows, shown, record)
    write_whole(run.report, _page(context, shown, run.processed, store))
    return run.report


def _page(context: dict[str, Any], shown: Sequence[Row], processed: Path, store: TextStore | None) -> str:
    """Return the page's HTML, within `MOST_BYTES`."""
    groups: dict[str, list[Row]] = {}
    for row in shown:
        groups.setdefault(row.image, []).append(row)
    names = list(groups)
    images = image_entries(processed, list(groups.values()), store)
    numbers = {name: number for number, name in enumerate(names)}
    rows = [row_entry(row, numbers[row.image], images[numbers[row.image]]["note"]) for row in shown]
    data = {
        "rows": rows,
        "pictures": images,
        "questions": {name: entity.question for name, entity in ENTITIES.items()},
        "outcomes": OUTCOMES,
    }
    budget = MOST_BYTES - 200_000 - len(json.dumps(data)) * 11 // 10
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        context,
        data=data,
        uris=data_uris(processed, names, budget),
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup((_TEMPLATES / "page.js").read_text(encoding="utf-8")),
    )


def _truths(data: Path | None) -> dict[int, str]:
    """Return the true values by index; empty where they are not known."""
    if data is None or not DataFolder(data).truth.is_file():
        return {}
    table = metrics.read_truth(DataFolder(data).truth)
    return dict(zip(table["index"].tolist(), table["truth"], strict=True))


def _train_rows(
    data: Path, run: RunFolder, held_out: Sequence[Question], store: TextStore | None, count: int
) -> list[Row]:
    """Return at most ``count`` train rows, held-out ones first, with label, verdict and held-out answer."""
    questions, _ = train_questions(read_train(data), run.processed, read_files(data))
    answers = {(question.row, question.entity): question for question in held_out}
    order = np.random.default_rng(0).permutation(len(questions)).tolist()
    order.sort(key=lambda i: (questions[i].row, questions[i].entity) not in answers)
    questions = [questions[i] for i in sorted(order[:count])]
    verdicts: list[audit.Verdict | None] = [None] * len(questions)
    if store is not None:
        texts = parse_images([question.image for question in questions], store, run.rules_journal)
        questions = with_text(questions, texts)
        verdicts = [audit.judge(question, texts[question.image].text) for question in questions]
    rows = []
    for question, verdict in zip(questions, verdicts, strict=True):
        answer = answers.get((question.row, question.entity))
        shown = replace(answer or question, link=question.image)
        rows.append(
            Row(
                shown,
                "train",
                shown.model_answer,
                shown.confidence,
                question.label,
                answer is not None,
                "model" if answer else "",
                verdict.verdict if verdict else "",
                audit.ACTIONS[verdict.verdict] if verdict else "",
            )
        )
    return rows


def _facts(rows: Sequence[Row], shown: Sequence[Row], record: Mapping[str, Any]) -> list[str]:
    """Return what the page is about, in a few words each."""
    answered = sum(bool(row.answer) for row in rows)
    facts = [f"{len(rows):,} test rows", f"{answered:,} with an answer"]
    if record:
        model = record.get("settings", {}).get("model", "a model")
        facts.append(f"{model} trained on {record.get('trained_on', 0):,} rows")
    if len(shown) != len(rows):
        facts.append(f"{len(shown):,} rows on this page")
    return facts


def summary(rows: Sequence[Row], held_out: Sequence[Question], times: Mapping[str, float]) -> dict[str, Any]:
    """Return what the page's template shows: ``scores, of, reliability, units, times``.

    Scores are of the test rows where their truth is known, else of the model on held-out train rows; ``of``
    says which.
    """
    scored_on = "test rows"
    answers = [(r.question.entity, r.truth, r.answer, r.probability) for r in rows if r.truth is not None]
    if not answers:
        scored_on = "held-out train rows, by the model alone"
        answers = [(q.entity, q.label, q.model_answer, q.confidence) for q in held_out]
    if not answers:
        return {"scores": [], "of": "", "reliability": [], "units": None, "times": dict(times)}
    table = pd.DataFrame(answers, columns=["entity", "truth", "answer", "probability"])
    entities, truths, predictions = (table[name].tolist() for name in ("entity", "truth", "answer"))
    return {
        "scores": metrics.table(entities, truths, predictions).to_dict("records"),
        "of": scored_on,
        "reliability": reliability(table),
        "units": _units(truths, predictions),
        "times": dict(times),
    }


def reliability(answers: pd.DataFrame) -> list[dict[str, float]]:
    """Return ``rows``, mean ``probability`` and share ``right`` for each fifth of the probabilities that has
    rows."""
    rows = answers[answers["probability"].notna()]
    pairs = zip(rows["answer"], rows["truth"], strict=True)
    right = [metrics.comparable(answer) == metrics.comparable(truth) for answer, truth in pairs]
    probability = rows["probability"].astype(float)
    fifth = (probability * _BINS).clip(upper=_BINS - 1).astype(int)
    table = pd.DataFrame({"fifth": fifth, "probability": probability, "right": right})
    grouped = table.groupby("fifth").agg(
        rows=("right", "size"), probability=("probability", "mean"), right=("right", "mean")
    )
    return [{str(key): value for key, value in row.items()} for row in grouped.to_dict("records")]


def _units(truths: Sequence[str], answers: Sequence[str]) -> dict[str, Any]:
    """Return ``columns`` (units of the answers) and ``rows``: unit of the truth, counts, and which of them is
    right."""
    table = metrics.confusion_of_units(truths, answers)
    return {
        "columns": list(table.columns),
        "rows": [
            (unit, [(int(count), unit == other) for other, count in zip(table.columns, counts, strict=True)])
            for unit, counts in zip(table.index, table.to_numpy(), strict=True)
        ],
    }


def skipped(rows: Sequence[Row], processed: Path, data: Path | None) -> list[tuple[str, str, int]]:
    """Return what was left out: where, why, how often."""
    reasons = Counter(row.question.reason for row in rows if row.question.reason)
    counts = [("question", reason, n) for reason, n in reasons.most_common()]
    if ProcessedFolder(processed).is_made:
        table = read_manifest(processed, ["status", "error"])
        table = table[table["status"].ne("ok") | table["error"].ne("")]
        flaws = Counter(table["status"].where(table["status"].ne("ok"), "flaw") + ": " + table["error"])
        counts += [("picture", reason, n) for reason, n in flaws.most_common()]
    downloads = None if data is None else DataFolder(data).downloads
    if downloads is not None and downloads.is_file():
        table = read_table(downloads, ["status", "error"])
        errors = Counter(table.loc[table["status"].eq("failed"), "error"])
        counts += [("download", reason, n) for reason, n in errors.most_common()]
    return counts
