"""Every figure of the results: each way of doing it trained, answered, scored; one JSON, two tables.

    make results DATA=path/to/data/folder OUT=path/to/results

``DATA`` needs ``train.csv``, ``test.csv``, ``images/`` and ``gold_dev.csv`` (test rows read by eye: ``index,
entity_name, gold, alternatives``); ``published_answers.csv`` (``index`` and a column per system) is scored,
too, where it is there. ``OUT`` is what ``make run`` left. Each way has a folder in ``OUT/ways``; what is
finished there is used again. Writes ``benchmarks/results.json``, ``benchmarks/results.md`` and the table
between the two marks of benchmarks/README.md.
"""

import argparse
import dataclasses
import json
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from src import metrics
from src.data.errors import InputError, run_main
from src.data.files import write_whole
from src.data.folders import RunFolder
from src.data.labels import normalise_label
from src.data.tables import read_table, read_train
from src.model.family import family_of
from src.model.modeling import add_lora, load_base, load_config, lora_config
from src.predict import predict
from src.reading.quantity import canonical
from src.settings import LoraSettings, PredictSettings, TrainSettings
from src.train import resolve, train

ROOT = Path(__file__).resolve().parent.parent
MARKS = "<!-- results: written by make results -->", "<!-- end of results -->"
FOLDS = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Gold:
    """Rows read by eye: index, entity, answer, and the other answers a judge accepts."""

    rows: pd.DataFrame  # index, entity_name, truth
    others: list[set[str]]

    def score(self, predictions: pd.Series) -> dict[str, Any]:
        """Strict and lenient F1 and strict F1 per entity; ``predictions`` by index."""
        given = [canonical(str(text)) for text in predictions.reindex(self.rows["index"]).fillna("")]
        truths, entities = self.rows["truth"].tolist(), self.rows["entity_name"].tolist()
        kind = [
            a if a and a in accepted else t for t, a, accepted in zip(truths, given, self.others, strict=True)
        ]
        table = metrics.table(entities, truths, given).set_index("entity")["f1"]
        return {
            "strict": table["all"],
            "lenient": metrics.score(kind, given).f1,
            "per_entity": table.drop("all").to_dict(),
        }


def read_gold(path: Path) -> Gold:
    """Read ``gold_dev.csv``; raises `InputError`."""
    table = read_table(path, ["index", "entity_name", "gold", "alternatives"])
    others = [{canonical(a) for a in row.split(";") if a.strip()} for row in table["alternatives"]]
    truth = [canonical(text) for text in table["gold"]]
    return Gold(table.assign(index=table["index"].astype(int), truth=truth), others)


def way(settings: TrainSettings, processed: Path) -> pd.DataFrame:
    """Train and answer in a folder of its own; the details by index."""
    settings.out.mkdir(parents=True, exist_ok=True)
    if not RunFolder(settings.out).processed.exists():
        RunFolder(settings.out).processed.symlink_to(processed.resolve())
    train(resolve(dataclasses.replace(settings, overwrite=True)))
    return answer(settings)


def answer(settings: TrainSettings) -> pd.DataFrame:
    """`predict` with the adapter that is there; the details by index."""
    return predict(PredictSettings(settings.data, settings.out, settings.model)).set_index("index")


def bundled(settings: TrainSettings, processed: Path) -> pd.DataFrame:
    """The model as it comes: an adapter that was not trained changes nothing."""
    settings.out.mkdir(parents=True, exist_ok=True)
    if not RunFolder(settings.out).adapter.is_dir():
        RunFolder(settings.out).processed.symlink_to(processed.resolve())
        add_lora(load_base(settings.model), lora_config(LoraSettings())).save_pretrained(
            str(RunFolder(settings.out).adapter)
        )
    return answer(settings)


def shuffled(settings: TrainSettings, processed: Path, adapter: Path) -> pd.DataFrame:
    """The fine-tuned model with every image exchanged for another of its size, and the right text."""
    folder = RunFolder(settings.out).processed
    if not folder.is_dir():
        folder.mkdir(parents=True)
        RunFolder(settings.out).adapter.symlink_to(adapter.resolve())
        for name in ("manifest.csv", "text.jsonl"):
            (folder / name).symlink_to((processed / name).resolve())
        order = np.random.default_rng(0)
        sizes = pd.Series(family_of(load_config(settings.model)).padded_sizes(processed))
        for _, names in sizes.groupby(sizes).groups.items():
            for name, other in zip(names, order.permutation(names), strict=True):
                (folder / name).symlink_to((processed / other).resolve())
    return answer(settings)


def among_candidates(given: pd.Series, details: pd.DataFrame) -> pd.Series:
    """Answers by index, of ``details``' rows: those ``given`` that are candidates there, else the rules'."""
    answers = [canonical(str(text)) for text in given.reindex(details.index).fillna("")]
    kept = [text in options.split("; ") for text, options in zip(answers, details["candidates"], strict=True)]
    return details["rules"].mask(pd.Series(kept, details.index), pd.Series(answers, details.index))


def folds(base: TrainSettings, processed: Path) -> pd.DataFrame:
    """Official rows answered by models that were not trained on their images: details with ``truth``."""
    table = read_train(base.data)
    table.insert(0, "index", range(len(table)))
    images = pd.factorize(table["image_link"])[0]
    fold = np.random.default_rng(0).permutation(images.max() + 1)[images] % FOLDS
    parts = []
    for number in range(FOLDS):
        data = base.out / f"fold-{number}"
        data.mkdir(parents=True, exist_ok=True)
        if not (data / "images").exists():
            (data / "images").symlink_to((base.data / "images").resolve())
        here = fold == number
        write_whole(data / "train.csv", table[~here].drop(columns="index").to_csv(index=False))
        write_whole(data / "test.csv", table[here].drop(columns="entity_value").to_csv(index=False))
        parts.append(way(dataclasses.replace(base, data=data, out=data / "out"), processed))
    details = pd.concat(parts).sort_index()
    pairs = zip(table["entity_value"], table["entity_name"], strict=True)
    labels = [normalise_label(value, entity) for value, entity in pairs]
    details["truth"] = [label for label, _ in labels]
    details["usable"] = [reason in ("ok", "range", "unit repaired", "empty") for _, reason in labels]
    return details[details["usable"]]


def measure(data: Path, out: Path, model: str) -> dict[str, Any]:
    """All ways; returns the record that the tables are made of."""
    processed, gold = out / "processed", read_gold(data / "gold_dev.csv")
    if not (processed / "text.jsonl").is_file():
        raise InputError(f"{processed}: no text.jsonl; run make run DATA={data} OUT={out} first")
    start, ways = time.monotonic(), out / "ways"
    base = TrainSettings(data, out, model)
    rows: list[dict[str, Any]] = []

    def add(name: str, predictions: pd.Series, note: str = "") -> None:
        rows.append({"name": name, "note": note, **gold.score(predictions)})
        print(f"{name}: strict {rows[-1]['strict']:.3f}, lenient {rows[-1]['lenient']:.3f}", flush=True)

    main = way(base, processed)  # the same that make run does
    add("rules alone", main["rules"], "no model")
    as_it_is = bundled(dataclasses.replace(base, out=ways / "bundled"), processed)
    add("tiny model as bundled", as_it_is["model_answer"], "not trained on these rows")
    add("tiny model, fine-tuned", main["model_answer"], "QLoRA on the official rows, audited")
    unaudited = way(dataclasses.replace(base, out=ways / "no-audit", audit=False), processed)
    add("... without the audit", unaudited["model_answer"], "labels as they are")
    blind = way(dataclasses.replace(base, out=ways / "no-ocr", ocr=False), processed)
    add("... without candidates", blind["model_answer"], "image and question only")
    other = shuffled(dataclasses.replace(base, out=ways / "shuffled"), processed, out / "adapter")
    add("... with images shuffled", other["model_answer"], "right text, another image: does it look?")
    add("**rules and fine-tuned tiny model, the ensemble**", main["prediction"], "what `make run` writes")
    published = data / "published_answers.csv"
    if published.is_file():
        table = read_table(published, ["index"])
        table.index = table["index"].astype(int)
        for system in table.columns.drop("index"):
            add(f"published answers: {system}", table[system], "scored here on the same rows")
            add(
                "... where they are candidates",
                among_candidates(table[system], main),
                "else the rules' answers",
            )
    official = folds(dataclasses.replace(base, out=ways / "folds"), processed)
    five = {}
    for name, column in (("rules alone", "rules"), ("model", "model_answer"), ("ensemble", "prediction")):
        five[name] = metrics.score(official["truth"].tolist(), official[column].tolist()).f1
        print(f"5-fold, {name}: {five[name]:.3f}", flush=True)
    return {
        "rows": rows,
        "gold_rows": len(gold.rows),
        "official": five,
        "official_rows": len(official),
        "model": model,
        "minutes": round((time.monotonic() - start) / 60),
        "machine": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{os.cpu_count()} CPU cores ({platform.machine()}), no GPU, Python {platform.python_version()}",
    }


def as_markdown(record: dict[str, Any], per_entity: bool) -> str:
    """The table, with a column per entity or without."""
    entities = sorted(record["rows"][0]["per_entity"]) if per_entity else []
    head = ["answers by", "strict F1", "lenient F1", *entities] + ([] if per_entity else ["what it is"])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in record["rows"]:
        cells = [row["name"], f"{row['strict']:.3f}", f"{row['lenient']:.3f}"]
        cells += [f"{row['per_entity'][e]:.2f}" for e in entities] if per_entity else [row["note"]]
        lines.append("| " + " | ".join(cells) + " |")
    five = ", ".join(f"{name} {f1:.3f}" for name, f1 in record["official"].items())
    return "\n".join(
        [
            f"{record['gold_rows']} test rows read by eye; *lenient* accepts what a judge would. "
            f"Measured by `make results` in {record['minutes']} minutes on {record['machine']}, "
            f"with `{record['model']}`.",
            "",
            *lines,
            "",
            f"{FOLDS}-fold by image on the {record['official_rows']} official train rows "
            f"(labels as they are, about a quarter of them wrong), F1: {five}.",
        ]
    )


def put_into(text: str, table: str, marks: tuple[str, str] = MARKS) -> str:
    """``text`` with what is between two lines replaced; raises `InputError` where they are missing."""
    pattern = re.compile(f"({re.escape(marks[0])}\n).*(\n{re.escape(marks[1])})", re.DOTALL)
    replaced, count = pattern.subn(lambda found: f"{found[1]}\n{table}\n{found[2]}", text)
    if count != 1:
        raise InputError(f"benchmarks/README.md: needs the lines {marks[0]} and {marks[1]} once")
    return replaced


def write_tables(record: dict[str, Any], root: Path = ROOT) -> None:
    """Write ``benchmarks/results.md`` and the table in ``benchmarks/README.md`` from the record."""
    title = "# Results\n\nWritten by `make results`; the figures are in `results.json`.\n\n"
    write_whole(root / "benchmarks" / "results.md", title + as_markdown(record, per_entity=True) + "\n")
    readme = root / "benchmarks" / "README.md"
    write_whole(readme, put_into(readme.read_text(), as_markdown(record, per_entity=False)))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure every figure of the README's results.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder that make run left")
    parser.add_argument("--model", default="data/idefics2-tiny")
    args = parser.parse_args()
    record = measure(args.data, args.out, args.model)
    write_whole(ROOT / "benchmarks" / "results.json", json.dumps(record, indent=1) + "\n")
    write_tables(record)
    return 0


if __name__ == "__main__":
    run_main(main)
