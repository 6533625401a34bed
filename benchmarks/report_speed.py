"""How long a report over a Run takes, and how much memory, by the number of its Tasks.

`python -m benchmarks.report_speed [--json] [--tasks 100000,1000000] [--keep FOLDER]`. A fresh
SQLite is filled with a Run of so many Tasks (five to a turn, traces among them; see
parts/report_rows.py), which is not timed. Then a process of its own does what `turnlab report`
does: it reads the Run, measures accuracy against the dataset, judges, compares and writes the page,
without sound. `process` is that process from its start to its end; what follows are its parts, the
size of the page, and the most memory that it held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

# Nothing of Turnlab is imported before it is needed, since that is part of what is measured.

LIMITS = {100_000: (3.0, 1024.0), 1_000_000: (20.0, 1024.0)}
"""By Tasks: seconds and MiB that a report may take."""


def fill(tasks: int, home: Path) -> str:
    """A database in `home` with a Run of so many Tasks; its id."""
    from benchmarks.parts.report_rows import write_dataset, write_run
    from turnlab.server.setup import open_database

    open_database()
    return write_run(tasks, write_dataset(home / "dataset"))


def measure(run_id: str, page: Path) -> dict[str, float]:
    """Read the Run and make the report, in this process; the seconds of each part."""
    took: dict[str, float] = {}
    start_s = time.perf_counter()

    def part(name: str) -> None:
        nonlocal start_s
        now_s = time.perf_counter()
        took[name], start_s = now_s - start_s, now_s

    from turnlab.cli import collect_seldom
    from turnlab.cli.reporting import AudioPlace, find, make_report, write_page
    from turnlab.server.setup import open_database
    from turnlab.usage import peak_mib

    collect_seldom()  # as every command does
    open_database()
    part("open")
    found = find([run_id])
    part("read and judge")
    report = make_report(found, page, AudioPlace.NONE)
    part("report")
    write_page(report, page)
    part("write")
    return {**took, "page_mib": page.stat().st_size / 2**20, "peak_mib": peak_mib()}


def in_fresh_process(run_id: str, home: Path) -> dict[str, float]:
    """The same in a process of its own, which is timed as a whole."""
    command = [sys.executable, "-m", "benchmarks.report_speed", "--run", run_id]
    start_s = time.perf_counter()
    done = subprocess.run(
        command,
        env={**os.environ, "TURNLAB_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    took_s = time.perf_counter() - start_s
    if done.returncode:
        raise SystemExit(done.stderr)
    return {"process": took_s, **json.loads(done.stdout)}


def measure_all(counts: list[int], folder: Path) -> list[dict[str, Any]]:
    """A fill and a report for each number of Tasks, each in a home of its own."""
    found = []
    for tasks in counts:
        home = folder / str(tasks)
        home.mkdir(parents=True)
        command = [sys.executable, "-m", "benchmarks.report_speed", "--fill", str(tasks)]
        env = {**os.environ, "TURNLAB_HOME": str(home)}
        filled = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        size = sum(each.stat().st_size for each in home.glob("turnlab.sqlite3*"))
        row = in_fresh_process(filled.stdout.strip(), home)
        found.append({"tasks": tasks, "database_mib": size / 2**20, **row})
    return found


def show(found: list[dict[str, Any]]) -> None:
    """The figures as a table."""
    from benchmarks.journal import hardware

    print(f"{date.today().isoformat()}, {hardware()}, SQLite\n")
    parts = ("process", "open", "read and judge", "report", "write")
    heading = ", s | ".join(parts)
    print(f"| Tasks | database, MiB | {heading}, s | page, MiB | peak, MiB | within limits |")
    print("| ---: | ---: |" + " ---: |" * (len(parts) + 2) + " --- |")
    for row in found:
        times = " | ".join(f"{row[part]:.2f}" for part in parts)
        limits = LIMITS.get(row["tasks"])
        kept = limits and row["process"] <= limits[0] and row["peak_mib"] <= limits[1]
        verdict = "" if limits is None else "yes" if kept else "no"
        print(
            f"| {row['tasks']:,} | {row['database_mib']:,.0f} | {times} "
            f"| {row['page_mib']:.1f} | {row['peak_mib']:,.0f} | {verdict} |"
        )


def main() -> None:
    """Fill, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--tasks", default="100000,1000000", help="how many (100000,1000000)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the databases there")
    parser.add_argument("--fill", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.fill:
        print(fill(asked.fill, Path(os.environ["TURNLAB_HOME"])))
        return
    if asked.run:
        print(json.dumps(measure(asked.run, Path(os.environ["TURNLAB_HOME"], "report.html"))))
        return
    with tempfile.TemporaryDirectory() as folder:
        counts = [int(each) for each in asked.tasks.split(",")]
        found = measure_all(counts, asked.keep or Path(folder))
    if asked.json:
        from benchmarks.journal import hardware

        about = {"date": date.today().isoformat(), "hardware": hardware()}
        print(json.dumps({**about, "runs": found}))
    else:
        show(found)


if __name__ == "__main__":
    main()
