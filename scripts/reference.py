"""Writes the pages of docs/reference that the code already tells; `--check` only compares.

python scripts/reference.py [--check]
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from turnlab import errors
from turnlab.cli.lists import describe_module
from turnlab.modules.registry import find_modules

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
NOTE = "<!-- Written by scripts/reference.py from the code; change it there. -->\n"

COMMANDS = (
    (),
    ("run",),
    ("demo",),
    ("clusters", "list"),
    ("clusters", "show"),
    ("clusters", "check"),
    ("modules", "list"),
    ("modules", "show"),
    ("tracks", "list"),
    ("tracks", "show"),
)


def errors_page() -> str:
    """Every error: code, what it means, what to do."""
    rows = [
        f"| `{found.code}` | {(inspect.getdoc(found) or '').splitlines()[0]} |"
        for _, found in sorted(inspect.getmembers(errors, inspect.isclass))
        if issubclass(found, errors.TurnlabError) and found.__module__ == errors.__name__
    ]
    head = (
        "# Errors\n\nEvery failure has a stable `code` for programs and a message that says what "
        "to do next.\n`turnlab` prints both and exits with 1; `--json` and the records carry "
        "them.\n"
    )
    return "\n".join([NOTE + head, "| code | default message |", "| --- | --- |", *rows, ""])


def modules_page() -> str:
    """Every built-in Module: kinds, parameters."""
    parts = [NOTE + "# Modules\n\n`turnlab modules show NAME` prints the same.\n"]
    for module in find_modules():
        parts.append("\n".join(_module(describe_module(module))))
    return "\n".join(parts)


def cli_page() -> str:
    """The help of every command."""
    parts = [NOTE + "# The command line\n\nUnder `./run`, put `./run` before `turnlab`.\n"]
    for command in COMMANDS:
        title = " ".join(("turnlab", *command))
        parts.append(f"## {title}\n\n```\n{_help(command)}\n```\n")
    return "\n".join(parts)


def _module(row: dict[str, Any]) -> Iterator[str]:
    reads = ", ".join([*row["consumes"], *(f"{kind} (where there is one)" for kind in row["uses"])])
    yield f"## {row['task_name']}\n"
    yield inspect.cleandoc(row["description"]) + "\n"
    yield f"Reads {reads}; makes {row['produces']}; version {row['version']}.\n"
    yield "| parameter | default | |\n| --- | --- | --- |"
    for name, field in row["parameters"].items():
        default = json.dumps(field.get("default"), ensure_ascii=False)
        yield f"| `{name}` | `{default}` | {field.get('description', '')} |"
    yield ""


def _help(command: tuple[str, ...]) -> str:
    environment = {**os.environ, "COLUMNS": "88", "TERM": "dumb", "NO_COLOR": "1"}
    shown = subprocess.run(
        [sys.executable, "-m", "turnlab", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    lines = shown.stdout.replace("python -m turnlab", "turnlab").strip("\n").splitlines()
    return "\n".join(line.rstrip() for line in lines)


def main() -> int:
    """Write the pages, or say which one is stale."""
    pages = {"errors.md": errors_page(), "modules.md": modules_page(), "cli.md": cli_page()}
    stale = 0
    for name, text in pages.items():
        path = REFERENCE / name
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"docs/reference/{name} is stale: run python scripts/reference.py")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
