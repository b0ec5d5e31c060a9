"""What a catalogue takes that is larger than one machine: cores, GPUs, hours, storage."""

from dataclasses import dataclass

from src.plan.measure import PictureRates

ROWS_PER_PICTURE = 1.45
"""Questions about a picture, as in the challenge's test."""
NAME_BYTES = 400.0
"""That the process which shares out the work holds of each picture with ``--shards``: 300 measured for its
name (benchmarks/README.md), the rest for what is asked of it."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Pictures, and what is put to work for them."""

    pictures: int
    cores: int
    gpus: int


CATALOGUES = (Cluster(350_000, 16, 1), Cluster(10_000_000, 256, 8), Cluster(1_000_000_000, 10_000, 256))


def hours(cluster: Cluster, rates: PictureRates, answer: float) -> tuple[float, float]:
    """Hours of reading (with rules) on the cores and of answering on the GPUs; ``answer``: seconds of a GPU
    per row."""
    reading = cluster.pictures * (rates.preprocess + rates.rules) / cluster.cores
    return reading / 3600, cluster.pictures * ROWS_PER_PICTURE * answer / cluster.gpus / 3600


def terabytes(cluster: Cluster, rates: PictureRates) -> tuple[float, float]:
    """Of the pictures as they come, and of processed pictures with their text."""
    return (
        cluster.pictures * rates.source_bytes / 1e12,
        cluster.pictures * (rates.processed_bytes + rates.text_bytes) / 1e12,
    )


def table(rates: PictureRates, answer: float, gpu: str) -> list[str]:
    """`CATALOGUES` as lines of a Markdown table. Linear: no figure of it was measured on more than one
    machine."""
    lines = [
        f"| pictures | cores | reading | GPUs ({gpu}) | answering | sources | processed | driver's memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cluster in CATALOGUES:
        reading, answering = hours(cluster, rates, answer)
        sources, processed = terabytes(cluster, rates)
        memory = 0.3 + cluster.pictures * NAME_BYTES / 1e9
        lines.append(
            f"| {cluster.pictures:,} | {cluster.cores:,} | {reading:,.1f} h | {cluster.gpus} | {answering:,.1f} h "
            f"| {sources:,.2f} TB | {processed:,.2f} TB | {memory:,.1f} GB |"
        )
    return lines
