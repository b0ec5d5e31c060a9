"""How well pictures are read: candidate recall, the rule reader's F1, its score's honesty, the audit; a page
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src import metrics, rules
from src.data.errors import InputError, run_main
from src.data.files import write_whole
from src.data.folders import DataFolder
from src.data.labels import normalise_label
from src.data.names import processed_name, read_files
from src.data.samples import Sample, train_samples
from src.data.tables import read_table, read_train
from src.data.text_store import TextStore
from src.images.decode import cv2, read_image
from src.images.enhance import resize
from src.reading import options as rule_options
from src.reading.quantity import canonical, parse_answer, same_amount
from src.training import audit

GOLD = ("gold_dev.csv", "gold_hard_dev.csv")
"""Tables of rows read by eye."""


@dataclass(frozen=True, slots=True)
class Row:
    """A question with its truth, the other answers a judge accepts, and what the rules said."""

    sample: Sample
    others: tuple[str, ...]
    options: list[list[str]]
    answer: rule_options.Answer


def agree(text: str, truth: str) -> bool:
    """`quantity.same_amount` of two canonical texts."""
    a, b = parse_answer(text), parse_answer(truth)
    return a is not None and b is not None and same_amount(a, b)


def read(samples: Sequence[Sample], others: Sequence[tuple[str, ...]], texts: TextStore) -> list[Row]:
    """Options and the rules' answer for each sample."""
    answers = rules.answer_samples(samples, texts)
    return [
        Row(sample, other, [list(option.texts) for option in by_rules.options], by_rules.answer)
        for sample, other, by_rules in zip(samples, others, answers, strict=True)
    ]


def recall(rows: Sequence[Row], any_unit: bool = False) -> float:
    """Share of the rows with an answer whose candidates hold it, or another accepted one."""
    hits = []
    for row in rows:
        if row.sample.answer:
            wanted, shown = (
                {row.sample.answer, *row.others},
                {text for group in row.options for text in group},
            )
            hits.append(any(agree(a, b) for a in wanted for b in shown) if any_unit else bool(wanted & shown))
    return float(np.mean(hits)) if hits else float("nan")


def agreement(rows: Sequence[Row], accept: str) -> float:
    """Share of the rows that the rules answer with the truth: ``strict``, or the same ``amount`` in any
    unit."""
    same = agree if accept == "amount" else str.__eq__
    return float(np.mean([same(row.answer.text, row.sample.answer) for row in rows]))


def f1(rows: Sequence[Row], accept: str) -> float:
    """F1 of the rules' answers; ``accept``: strict, lenient (other accepted answers count) or amount (any
    unit)."""
    truths = []
    for row in rows:
        given, truth = row.answer.text, row.sample.answer
        fits = (accept == "lenient" and given in row.others) or (accept == "amount" and agree(given, truth))
        truths.append(given if given and fits else truth)
    return metrics.score(truths, [row.answer.text for row in rows]).f1


def per_entity(rows: Sequence[Row], **scores: Callable[[Sequence[Row]], float]) -> pd.DataFrame:
    """Rows, recall and ``scores`` per entity and over all."""
    table = {}
    for entity in [*sorted({row.sample.entity for row in rows}), "all"]:
        own = [row for row in rows if entity in (row.sample.entity, "all")]
        table[entity] = {"rows": len(own), "recall": recall(own)} | {
            name: score(own) for name, score in scores.items()
        }
    return pd.DataFrame.from_dict(table, orient="index").round(3)


def honesty(rows: Sequence[Row]) -> tuple[float, pd.DataFrame]:
    """The temperature of least log loss against labelled amounts, and score against share right at the one in
    use."""
    pairs = []
    for row in rows:
        if row.answer.text:
            pairs.append((row.answer.score, agree(row.answer.text, row.sample.answer)))
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
        if row.answer.text:
            # The score is a softmax's largest value: its log-odds against the rest scale nearly with
            # 1/temperature.
            odds = (
                np.log(row.answer.score / max(1e-6, 1 - row.answer.score))
                * rule_options.TEMPERATURE
                / temperature
            )
            chance = min(max(1 / (1 + np.exp(-odds)), 1e-3), 1 - 1e-3)
            loss -= np.log(chance if agree(row.answer.text, row.sample.answer) else 1 - chance)
    return float(loss)


def check_audit(samples: Sequence[Sample], curated: Path, links: Sequence[str], texts: TextStore) -> None:
    """Print what the audit says of the labels, and of those that a person corrected."""
    verdicts = audit.audit(samples, texts)
    print(audit.report(samples, verdicts).to_string())
    if not curated.is_file():
        return
    columns = ["image_link", "entity_name", "entity_value"]
    truths = {}
    for link, entity, value in read_table(curated, columns)[columns].itertuples(index=False):
        truths[link, entity] = normalise_label("" if value == "NA" else value, entity)[0]
    pairs = []
    for sample, verdict in zip(samples, verdicts, strict=True):
        truth = truths.get((links[sample.row], sample.entity))
        if truth is not None:
            pairs.append((verdict, sample.answer == truth or agree(sample.answer, truth), truth))
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
    """An HTML page of the rows the rules missed, with picture, truth, answer and options."""
    cards = []
    for row in rows:
        truth, given = row.sample.answer, row.answer
        if given.text == truth or (given.text and given.text in row.others):
            continue
        picture = resize(read_image(processed / processed_name(row.sample.image)), 360)
        data = base64.b64encode(cv2.imencode(".jpg", picture)[1].tobytes()).decode()
        options = "; ".join(" / ".join(group) for group in row.options) or "none"
        said = f"{row.sample.entity}: {truth or 'not visible'}. Rules: {given.text or 'silent'} ({given.score:.2f})."
        cards.append(
            f'<figure><img src="data:image/jpeg;base64,{data}"><figcaption><b>{html.escape(row.sample.image)}</b><br>'
            f"{html.escape(said)}<br>Options: {html.escape(options)}</figcaption></figure>"
        )
    style = "body{font:14px sans-serif;display:flex;flex-wrap:wrap}figure{width:360px;margin:10px}"
    return f"<!doctype html><meta charset=utf-8><title>Misses</title><style>{style}</style>{''.join(cards)}\n"


def check_train(data: Path, processed: Path, texts: TextStore) -> list[Row]:
    """Print how the rows of ``train.csv`` are read, and the audit of its labels; return the rows."""
    train = read_train(data)
    samples, _ = train_samples(train, processed, read_files(data))
    labelled = [sample for sample in samples if sample.answer]
    rows = read(labelled, [()] * len(labelled), texts)
    print("train.csv:", f"recall in any unit {recall(rows, any_unit=True):.3f}")
    print(
        per_entity(
            rows, **{"F1 strict": lambda own: f1(own, "strict"), "F1 amount": lambda own: f1(own, "amount")}
        )
    )
    best, table = honesty(rows)
    print(
        f"score of an answer and share with the labelled amount (temperature {rule_options.TEMPERATURE}; best: {best})"
    )
    print(table)
    check_audit(samples, data / "challenge" / "curated_1600.csv", train["image_link"].tolist(), texts)
    return rows


def check_gold(path: Path, processed: Path, texts: TextStore) -> list[Row]:
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


def check_silver(path: Path, processed: Path, texts: TextStore) -> list[Row]:
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


def _asked(table: pd.DataFrame, column: str, processed: Path) -> list[Sample]:
    cells = zip(table["index"], table["image"], table["entity_name"], table[column], strict=True)
    return [
        Sample(int(i), image, processed / processed_name(image), e, canonical(v)) for i, image, e, v in cells
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
    texts, read_by_eye, others = TextStore(processed), [], []
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
