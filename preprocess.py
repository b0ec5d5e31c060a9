"""Make the images of a data folder ready for the model; with --ocr also read their text at full resolution.

    python preprocess.py --data data/sample --out outputs/processed --ocr
    python preprocess.py --data my/folder --out my/results/processed --download
    python preprocess.py --data my/folder --out my/results/processed --ocr --shards --ray auto

Source images are resized to at most 600 px on the long side, with CLAHE and an unsharp mask: one JPEG per
image, manifest.csv, text.jsonl; with --shards all of it in tars of 1,000 images, with --ray by the nodes of a
cluster. Sources are not touched, and what is done already is not done again. Exit code 2: the data folder
cannot be used; 1: with --strict, an image is missing, failed or blank.
"""

from src.data.errors import run_main
from src.settings import PreprocessSettings


def main() -> int:
    """Run the command line; return the exit code."""
    from src.data.flags import parser_for, settings_of  # not at the top: every worker imports this file

    parser = parser_for(PreprocessSettings, description="Resize and enhance the images of a data folder.")
    for flag, purpose in (
        ("--strict", "exit with 1 when an image is missing, failed or blank"),
        ("--download", "first fetch the images that images/ lacks"),
        ("--retry-failed", "with --download: also those that failed before"),
    ):
        parser.add_argument(flag, action="store_true", help=purpose)
    given = parser.parse_args()
    settings = settings_of(PreprocessSettings, vars(given))
    if given.download:
        from src.prepare.download import download  # its HTTP library is loaded only where it is needed
        from src.settings import DownloadSettings

        download(settings.data, DownloadSettings(), given.retry_failed, settings.sampled_rows, settings.seed)
    from src.prepare.preprocessing import preprocess
    from src.prepare.processes import UNREAD

    manifest = preprocess(settings)
    faulty = manifest["status"].ne("ok") | manifest["error"].str.contains(UNREAD)
    return 1 if given.strict and faulty.any() else 0


if __name__ == "__main__":
    run_main(main)
