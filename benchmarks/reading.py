"""How well images are read: candidate recall, the rule reader's F1, its score's honesty, the audit; a page
of misses.

    make bench-reading DATA=path/to/data/folder OUT=path/to/results

reads against ``OUT/processed`` (by ``preprocess.py --ocr``) what there is of these in ``DATA``:
``train.csv``, ``challenge/curated_1600.csv`` (corrected train rows), hand-read rows of test.csv (`GOLD`:
``index, image, entity_name, gold, alternatives``, and ``drawn`` where rows were drawn in several ways) and
``silver.csv`` (``index, image, entity_name, agreed``: rows that nobody read, but of which independent models
say the same). Writes ``OUT/reading.html``.
"""

import argparse
import base64
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src import metrics
from src.data.errors import InputError, run_main
from src.data.files import write_whole
from src.data.folders import DataFolder, RunFolder
from src.data.labels import normalise_label
from src.data.names import processed_name, read_files
from src.data.questions import Question, train_questions
from src.data.tables import read_table, read_train
from src.data.text_store import TextStore
from src.images.decode import cv2, read_image
from src.images.enhance import resize
from src.reading.image_text import ImageText
from src.reading.options import TEMPERATURE, rules_answer
from src.reading.quantity import canonical, parse_answer, same_amount
from src.rules import parse_images, with_text
from src.training import audit

GOLD = ("gold_dev.csv", "gold_hard_dev.csv")
"""Tables of rows read by eye."""


@dataclass(frozen=True, slots=True)
class Row:
    """A question with its label, the other answers a judge accepts, and the rules' answer."""

    question: Question
    others: tuple[str, ...]
    answer: str
    probability: float


def agree(text: str, truth: str) -> bool:
    """`quantity.same_amount` of two canonical texts."""
    a, b = parse_answer(text), parse_answer(truth)
    return a is not None and b is not None and same_amount(a, b)


def read(
    questions: Sequence[Question], others: Sequence[tuple[str, ...]], texts: Mapping[str, ImageText]
) -> list[Row]:
    """Return each question with its options and the rules' answer."""
    pairs = zip(with_text(questions, texts), others, strict=True)
    return [Row(question, other, *rules_answer(question.options)) for question, other in pairs]


def recall(rows: Sequence[Row], any_unit: bool = False) -> float:
    """Share of the rows with an answer whose candidates hold it, or another accepted one."""
    hits = []
    for row in rows:
        if row.question.label:
            wanted = {row.question.label, *row.others}
            shown = {text for option in row.question.options for text in option.texts}
            hits.append(any(agree(a, b) for a in wanted for b in shown) if any_unit else bool(wanted & shown))
    return float(np.mean(hits)) if hits else float("nan")


def agreement(rows: Sequence[Row], accept: str) -> float:
    """Share of the rows that the rules answer with the truth: ``strict``, or the same ``amount`` in any
    unit."""
    same = agree if accept == "amount" else str.__eq__
    return float(np.mean([same(row.answer, row.question.label) for row in rows]))


def f1(rows: Sequence[Row], accept: str) -> float:
    """F1 of the rules' answers; ``accept``: strict, lenient (other accepted answers count) or amount (any
    unit)."""
    truths = []
    for row in rows:
        given, truth = row.answer, row.question.label
        fits = (accept == "lenient" and given in row.others) or (accept == "amount" and agree(given, truth))
        truths.append(given if given and fits else truth)
    return metrics.score(truths, [row.answer for row in rows]).f1


def per_entity(rows: Sequence[Row], **scores: Callable[[Sequence[Row]], float]) -> pd.DataFrame:
    """Rows, recall and ``scores`` per entity and over all."""
    table = {}
    for entity in [*sorted({row.question.entity for row in rows}), "all"]:
        own = [row for row in rows if entity in (row.question.entity, "all")]
        table[entity] = {"rows": len(own), "recall": recall(own)} | {
            name: score(own) for name, score in scores.items()
        }
    return pd.DataFrame.from_dict(table, orient="index").round(3)


def honesty(rows: Sequence[Row]) -> tuple[float, pd.DataFrame]:
    """The temperature of least log loss against labelled amounts, and score against share right at the one in
    use."""
    pairs = []
    for row in rows:
        if row.answer:
            pairs.append((row.probability, agree(row.answer, row.question.label)))
    table = pd.DataFrame(pairs, columns=["score", "right"])
    best = min((_log_loss(rows, float(t)), float(t)) for t in np.arange(0.5, 4.01, 0.1).round(1))
    bins = pd.cut(table["score"], [0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
    shown = table.groupby(bins, observed=True).agg(
        rows=("right", "size"), score=("score", "mean"), right=("right", "mean")
    )
    return best[1], shown.round(3)


def _log_loss(rows: Sequence[Row], temperature: float) -> float:
    loss = 0.0
    for row in rows:
        if row.answer:
            # The score is a softmax's largest value: its log-odds against the rest scale nearly with
            # 1/temperature.
            odds = np.log(row.probability / max(1e-6, 1 - row.probability)) * TEMPERATURE / temperature
            chance = min(max(1 / (1 + np.exp(-odds)), 1e-3), 1 - 1e-3)
            loss -= np.log(chance if agree(row.answer, row.question.label) else 1 - chance)
    return float(loss)


def check_audit(
    questions: Sequence[Question], curated: Path, links: Sequence[str], texts: Mapping[str, ImageText]
) -> None:
    """Print what the audit says of the labels, and of those that a person corrected."""
    verdicts = audit.audit(questions, texts)
    print(audit.report(questions, verdicts).to_string())
    if not curated.is_file():
        return
    columns = ["image_link", "entity_name", "entity_value"]
    truths = {}
    for link, entity, value in read_table(curated, columns)[columns].itertuples(index=False):
        truths[link, entity] = normalise_label("" if value == "NA" else value, entity)[0]
    pairs = []
    for question, verdict in zip(questions, verdicts, strict=True):
        truth = truths.get((links[question.row], question.entity))
        if truth is not None:
            pairs.append((verdict, question.label == truth or agree(question.label, truth), truth))
    show_agreement("rows corrected by a team", pairs)


def show_agreement(title: str, pairs: Sequence[tuple[audit.Verdict, bool, str]]) -> None:
    """Precision and recall of "wrong label" (all but supported, other unit, doubtful), and of "not
    visible"."""
    said = [v.verdict in ("contradicted", "not visible") for v, _, _ in pairs]
    wrong = [not right for _, right, _ in pairs]
    unseen = [v.verdict == "not visible" for v, _, _ in pairs]
    for name, a, b in (("wrong label", said, wrong), ("not visible", unseen, [not t for *_, t in pairs])):
        both = sum(x and y for x, y in zip(a, b, strict=True))
        precision = f"{both}/{sum(a)}" if sum(a) else "none said"
        print(f"{title} ({len(pairs)}): {name}: precision {precision}, recall {both}/{sum(b)}")


def page(rows: Sequence[Row], processed: Path) -> str:
    """An HTML page of the rows the rules missed, with image, truth, answer and options."""
    cards = []
    for row in rows:
        truth, given = row.question.label, row.answer
        if given == truth or (given and given in row.others):
            continue
        picture = resize(read_image(processed / processed_name(row.question.image)), 360)
        data = base64.b64encode(cv2.imencode(".jpg", picture)[1].tobytes()).decode()
        options = "; ".join(" / ".join(o.texts) for o in row.question.options if o.texts) or "none"
        said = f"{row.question.entity}: {truth or 'not visible'}. "
        said += f"Rules: {given or 'nothing'} ({row.probability:.2f})."
        cards.append(
            f'<figure><img src="data:image/jpeg;base64,{data}"><figcaption>'
            f"<b>{html.escape(row.question.image)}</b><br>"
            f"{html.escape(said)}<br>Options: {html.escape(options)}</figcaption></figure>"
        )
    style = "body{font:14px sans-serif;display:flex;flex-wrap:wrap}figure{width:360px;margin:10px}"
    return f"<!doctype html><meta charset=utf-8><title>Misses</title><style>{style}</style>{''.join(cards)}\n"


def check_train(data: Path, processed: Path, texts: Mapping[str, ImageText]) -> list[Row]:
    """Print how the rows of ``train.csv`` are read, and the audit of its labels; return the rows."""
    train = read_train(data)
    questions, _ = train_questions(train, processed, read_files(data))
    labelled = [question for question in questions if question.label]
    rows = read(labelled, [()] * len(labelled), texts)
    print("train.csv:", f"recall in any unit {recall(rows, any_unit=True):.3f}")
    print(
        per_entity(
            rows, **{"F1 strict": lambda own: f1(own, "strict"), "F1 amount": lambda own: f1(own, "amount")}
        )
    )
    best, table = honesty(rows)
    print(f"score of an answer and share with the labelled amount (temperature {TEMPERATURE}; best: {best})")
    print(table)
    check_audit(
        with_text(questions, texts),
        data / "challenge" / "curated_1600.csv",
        train["image_link"].tolist(),
        texts,
    )
    return rows


def check_gold(path: Path, processed: Path, texts: Mapping[str, ImageText]) -> list[Row]:
    """Print how hand-read rows are read, one table for each way they were drawn; return the rows."""
    table = read_table(path, ["index", "image", "entity_name", "gold", "alternatives"])
    drawn = table["drawn"] if "drawn" in table else pd.Series("", table.index)
    every: list[Row] = []
    for kind, part in table.groupby(drawn, sort=True):
        others = [
            tuple(canonical(text) for text in cell.split(";") if text.strip())
            for cell in part["alternatives"]
        ]
        rows = read(_asked(part, "gold", processed), others, texts)
        print(f"{path.name}{f', {kind} rows' if kind else ''} (recall with accepted alternatives):")
        scores = {"F1 strict": lambda own: f1(own, "strict"), "F1 lenient": lambda own: f1(own, "lenient")}
        print(per_entity(rows, **scores))
        every += rows
    if drawn.nunique() > 1:
        print(f"{path.name}, all rows: recall {recall(every):.3f}")
    return every


def check_silver(path: Path, processed: Path, texts: Mapping[str, ImageText]) -> list[Row]:
    """Print recall and agreement on rows where independent models agree; return the rows."""
    table = read_table(path, ["index", "image", "entity_name", "agreed"])
    rows = read(_asked(table, "agreed", processed), [()] * len(table), texts)
    print(f"{path.name}: recall in any unit {recall(rows, any_unit=True):.3f}")
    scores = {
        "equal": lambda own: agreement(own, "strict"),
        "equal amount": lambda own: agreement(own, "amount"),
    }
    print(per_entity(rows, **scores))
    return rows


def _asked(table: pd.DataFrame, column: str, processed: Path) -> list[Question]:
    cells = zip(table["index"], table["image"], table["entity_name"], table[column], strict=True)
    return [
        Question(int(i), image, processed / processed_name(image), e, canonical(v))
        for i, image, e, v in cells
    ]


def main() -> int:
    """Command line; prints tables and writes the page."""
    parser = argparse.ArgumentParser(description="Candidate recall, rule reader, audit.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help="holds processed/; reading.html is written into it"
    )
    args = parser.parse_args()
    processed = args.out / "processed"
    store = TextStore(processed)
    texts = parse_images(store, store, RunFolder(args.out).rules_journal)
    read_by_eye: list[Row] = []
    others: list[Row] = []
    if DataFolder(args.data).train.is_file():
        others = check_train(args.data, processed, texts)
    for name in GOLD:
        if (args.data / name).is_file():
            read_by_eye += check_gold(args.data / name, processed, texts)
    if (args.data / "silver.csv").is_file():
        others += check_silver(args.data / "silver.csv", processed, texts)
    if not (read_by_eye or others):
        raise InputError(
            f"{args.data}: has no train.csv, {', '.join(GOLD)} or silver.csv; one is needed to compare with"
        )
    write_whole(args.out / "reading.html", page(read_by_eye or others, processed))
    print(f"misses: {args.out / 'reading.html'}")
    return 0


if __name__ == "__main__":
    pd.set_option("display.width", 200, "display.max_columns", None)
    run_main(main)
