"""The command that writes OUT/report.html, a page to look at every answer: one file, no server, no network.

    python -m src.report --out outputs [--data data/sample] [--shown 2000] [--train] [--compare other/outputs]

Of more test rows than that it shows all wrong answers, where the truth is known, those that the other run
answered otherwise, the least sure ones and some of the rest. Where no truth is known, the held-out rows of
the training are scored and shown, too.
"""

from src.data.errors import run_main
from src.data.flags import settings_from_command_line
from src.report.page import write_report
from src.settings import ReportSettings


def main() -> int:
    """Write the page that the command line asks for."""
    description = "Write OUT/report.html: every answer with its image and reasons."
    settings = settings_from_command_line(ReportSettings, description)
    print(write_report(settings.out, settings.data, settings.rows, settings.train, settings.compare))
    return 0


if __name__ == "__main__":
    run_main(main)
