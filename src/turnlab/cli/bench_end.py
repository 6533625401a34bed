"""What a Run came to, when all its turns have ended: printed, and written where asked."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from turnlab.bench.replay.asked import MODULES, folder_options
from turnlab.bench.reporting.report import Findings
from turnlab.bench.verdicts.findings import Outcome
from turnlab.bench.verdicts.outputs import all_failed, junit, results, together
from turnlab.cli import exit_codes
from turnlab.cli.reporting import (
    STDOUT,
    check_place,
    find,
    make_report,
    put_text,
    write_page,
    write_text,
)
from turnlab.errors import InvalidRequest, OutputFailed
from turnlab.reports.run_markdown import markdown
from turnlab.reports.run_report import RunReport
from turnlab.reports.run_terminal import comparison_view, figures_view, verdicts_view
from turnlab.reports.words import clean


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
            check_place(path)

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
    try:
        report = make_report(found, outputs.report)
    except OutputFailed as error:  # what was measured is not to be lost for a folder of sounds
        if not outputs.printed:
            _print(make_report(found, None))
        raise OutputFailed(f"{error} The Run is kept: turnlab report {run_id}") from error
    if not outputs.printed:
        _print(report)
    if outputs.report is not None:
        write_page(report, outputs.report)
    if outputs.junit is not None:
        write_text(outputs.junit, junit(found.judgements, (), found.runs, found.measured))
    if outputs.json is not None:
        told = results(found.runs, found.measured, found.judgements, found.comparisons)
        put_text(outputs.json, json.dumps(told) + "\n")
    if outputs.markdown is not None:
        put_text(outputs.markdown, markdown(report))
    _tell_next(found, outputs)
    return exit_code(found)


def exit_code(found: Findings) -> int:
    """0: all budgets are kept; 1: a Cluster failed on all turns; 2: over budget; 3: cannot tell."""
    if any(map(all_failed, found.measured)):
        return exit_codes.FAILED
    match together(found.judgements):
        case Outcome.FAIL:
            return exit_codes.OVER_BUDGET
        case Outcome.UNDECIDED:
            return exit_codes.UNDECIDED
    return 0


def _tell_next(found: Findings, outputs: Outputs) -> None:
    """What can be done with the Run now."""
    run, names = found.runs[0], [each.subject.cluster for each in found.measured]
    lines = [] if outputs.report else [f"turnlab report {run.id} --out report.html"]
    if names:
        folders = "".join(
            f" {'--modules' if option == MODULES else '--clusters'} {shlex.quote(folder)}"
            for option, folder in folder_options(run.asked)
        )
        lines.append(f"turnlab predict {shlex.quote(names[0])}{folders} --concurrency 10")
    console = Console(stderr=True, highlight=False)
    for line in lines:
        console.print(f"Next: {clean(line)}", markup=False, soft_wrap=True)


def _print(report: RunReport) -> None:
    console = Console(highlight=False)
    console.print(figures_view(report.subjects))
    console.print(verdicts_view(report.rulings))
    for comparison in report.comparisons:
        console.print(comparison_view(comparison))
    for remark in report.remarks:
        console.print(remark, markup=False, soft_wrap=True)
