"""Writes the pages of docs/reference that the code already tells; `--check` only compares.

python scripts/reference.py [--check]
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from turnlab import errors
from turnlab.cli.lists import describe_module
from turnlab.modules.base import Module
from turnlab.modules.registry import find_modules

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
NOTE = "<!-- Written by scripts/reference.py from the code; change it there. -->\n"

COMMANDS = (
    (),
    ("run",),
    ("demo",),
    ("serve",),
    ("worker",),
    ("listen",),
    ("respond",),
    ("extract",),
    ("bench",),
    ("compare",),
    ("report",),
    ("predict",),
    ("judge",),
    ("dataset", "make"),
    ("dataset", "starter"),
    ("dataset", "check"),
    ("dataset", "show"),
    ("dataset", "export"),
    ("dataset", "import"),
    ("dataset", "convert"),
    ("runs", "list"),
    ("runs", "show"),
    ("runs", "delete"),
    ("clusters", "list"),
    ("clusters", "show"),
    ("clusters", "check"),
    ("clusters", "new"),
    ("clusters", "import"),
    ("modules", "list"),
    ("modules", "show"),
    ("modules", "new"),
    ("tracks", "list"),
    ("tracks", "show"),
    ("rag", "add"),
    ("rag", "list"),
    ("rag", "search"),
    ("rag", "remove"),
    ("conversations", "list"),
    ("conversations", "show"),
    ("tokens", "create"),
    ("tokens", "list"),
    ("tokens", "revoke"),
    ("projects", "list"),
    ("projects", "set"),
    ("purge",),
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
    """Every built-in Module, with a link to its page."""
    rows = [
        f"| [{name}](modules/{name}.md) | {_reads(describe_module(module))} "
        f"| {module.produces.kind} | {(inspect.getdoc(module) or '').splitlines()[0]} |"
        for module in find_modules()
        for name in [module.task_name]
    ]
    head = "# Modules\n\n`turnlab modules show NAME` prints what the page of a Module tells.\n"
    table = ["| task | reads | makes | |", "| --- | --- | --- | --- |"]
    return "\n".join([NOTE + head, *table, *rows, ""])


def module_pages() -> dict[str, str]:
    """A page for each built-in Module."""
    return {
        f"modules/{module.task_name}.md": NOTE + "\n".join(_module(module))
        for module in find_modules()
    }


def cli_page() -> str:
    """The help of every command."""
    parts = [NOTE + "# The command line\n\nUnder `./run`, put `./run` before `turnlab`.\n"]
    for command in COMMANDS:
        title = " ".join(("turnlab", *command))
        parts.append(f"## {title}\n\n```\n{_help(command)}\n```\n")
    return "\n".join(parts)


def _module(module: type[Module]) -> Iterator[str]:
    row = describe_module(module)
    yield f"# {module.task_name}\n"
    yield inspect.cleandoc(row["description"]) + "\n"
    yield f"Reads {_reads(row)}; makes {row['produces']}; version {row['version']}.\n"
    yield "## Parameters\n"
    yield from _table(
        ("parameter", "default", ""), ((name, *_field(f)) for name, f in row["parameters"].items())
    )
    yield "## result_profile\n"
    made = f"what the {module.produces.kind} holds; see [the records](../records.md)"
    yield from _table(("key", ""), [(f"the keys of {module.produces.kind}", made), *row["results"]])
    yield "## latency_profile\n"
    yield "Beside the points of time that [every Task has](../latency.md); durations in seconds.\n"
    yield from _table(("key", ""), row["measures"])
    yield "## Errors\n"
    yield from _table(("code", ""), row["raises"])
    yield f"## Cost\n\n{row['cost']}\n"


def _reads(row: dict[str, Any]) -> str:
    return ", ".join([*row["consumes"], *(f"{kind} (where there is one)" for kind in row["uses"])])


def _field(field: dict[str, Any]) -> tuple[str, str]:
    default = json.dumps(field.get("default"), ensure_ascii=False).replace("|", "\\|")
    return f"`{default}`", field.get("description", "")


def _table(head: tuple[str, ...], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table, the first cell of each row as code; a word where there are no rows."""
    lines = ["| " + " | ".join((f"`{row[0]}`", *row[1:])) + " |" for row in rows]
    if not lines:
        yield "None.\n"
        return
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    yield from lines
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
    pages = {
        "errors.md": errors_page(),
        "modules.md": modules_page(),
        "cli.md": cli_page(),
        **module_pages(),
    }
    stale = 0
    for name, text in pages.items():
        path = REFERENCE / name
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"docs/reference/{name} is stale: run python scripts/reference.py")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
