"""What a Run came to, when all its turns have ended: printed, and written where asked."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from turnlab.bench.findings import Outcome
from turnlab.bench.measures import Measured
from turnlab.bench.outputs import junit, results, together
from turnlab.bench.report import Findings
from turnlab.cli.reporting import STDOUT, find, make_report, put_text, write_page, write_text
from turnlab.errors import InvalidRequest, OutputFailed
from turnlab.reports.run_markdown import markdown
from turnlab.reports.run_report import RunReport
from turnlab.reports.run_terminal import comparison_view, figures_view, verdicts_view
from turnlab.tracks import TrackStatus

EXIT_FAILED = 1
EXIT_OVER_BUDGET = 2
EXIT_UNDECIDED = 3


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Where to write what; JSON and Markdown may be printed instead."""

    report: Path | None = None
    json: Path | None = None
    junit: Path | None = None
    markdown: Path | None = None

    def check(self) -> None:
        """Raise OutputFailed where something cannot be written, before anything has run.

        Raises InvalidRequest where two are to be printed.
        """
        if STDOUT == self.json == self.markdown:
            raise InvalidRequest(
                "--json - and --markdown - cannot both be printed; name a file for one."
            )
        for path in self._files().values():
            if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
                raise OutputFailed(f"{path} cannot be written; choose another place for it.")

    @property
    def printed(self) -> bool:
        """Whether one of them is printed, and nothing else is."""
        return STDOUT in (self.json, self.markdown)

    def as_options(self) -> str:
        """The options that ask for it, each with a space before it."""
        pairs = [(option, str(path)) for option, path in self._named().items()]
        return "".join(f" {option} {shlex.quote(path)}" for option, path in pairs)

    def _named(self) -> dict[str, Path]:
        every = {
            "--report": self.report,
            "--json": self.json,
            "--junit": self.junit,
            "--markdown": self.markdown,
        }
        return {option: path for option, path in every.items() if path is not None}

    def _files(self) -> dict[str, Path]:
        may_be_printed = ("--json", "--markdown")
        named = self._named().items()
        return {o: path for o, path in named if o not in may_be_printed or path != STDOUT}


def finish(run_id: str, outputs: Outputs) -> int:
    """Print and write what the Run came to. The exit code of `turnlab bench`."""
    found = find([run_id])
    report = make_report(found, outputs.report)
    if not outputs.printed:
        _print(report)
    if outputs.report is not None:
        write_page(report, outputs.report)
    if outputs.junit is not None:
        write_text(outputs.junit, junit(found.judgements, (), found.runs))
    if outputs.json is not None:
        told = results(found.runs, found.measured, found.judgements, found.comparisons)
        put_text(outputs.json, json.dumps(told) + "\n")
    if outputs.markdown is not None:
        put_text(outputs.markdown, markdown(report))
    return exit_code(found)


def exit_code(found: Findings) -> int:
    """0: all budgets are kept; 1: a Cluster failed on all turns; 2: over budget; 3: cannot tell."""
    if any(map(_all_failed, found.measured)):
        return EXIT_FAILED
    match together(found.judgements):
        case Outcome.FAIL:
            return EXIT_OVER_BUDGET
        case Outcome.UNDECIDED:
            return EXIT_UNDECIDED
    return 0


def _all_failed(measured: Measured) -> bool:
    failed, completed = (
        measured.having(status).any() for status in (TrackStatus.FAILED, TrackStatus.COMPLETED)
    )
    return bool(failed and not completed)


def _print(report: RunReport) -> None:
    console = Console(highlight=False)
    console.print(figures_view(report.subjects))
    console.print(verdicts_view(report.rulings))
    for comparison in report.comparisons:
        console.print(comparison_view(comparison))
    for remark in report.remarks:
        console.print(remark, markup=False, soft_wrap=True)
