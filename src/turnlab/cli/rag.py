"""`turnlab rag`: indexes of documents, for the Module of that name to search."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnlab.errors import InvalidDocument, TurnlabError
from turnlab.reports.words import clean
from turnlab.retrieval.adding import OVERLAP_TOKENS, PASSAGE_TOKENS, Progress, Report, add
from turnlab.retrieval.embedding import MAX_TOKENS, Embedder
from turnlab.retrieval.indexes import find_backend, open_index
from turnlab.retrieval.limits import MIB, Limits
from turnlab.retrieval.stores import IndexSummary, Store, check_name

rag = typer.Typer(no_args_is_help=True, help="Indexes of your documents, to answer from.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[
    str | None,
    typer.Option(help="Folder with model.onnx and tokenizer.json; default all-MiniLM-L6-v2."),
]

SHOWN = 10
"""Names of a list that the terminal gets; --json has all."""


@rag.command("add")
def add_documents(
    name: Annotated[str, typer.Argument(help="Of the index; made if there is none.")],
    paths: Annotated[list[Path], typer.Argument(help="Folders or files.", metavar="PATH...")],
    model: Model = None,
    passage_tokens: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=MAX_TOKENS - 2,
            help=f"About how long passages are ({PASSAGE_TOKENS}); only for a new index.",
        ),
    ] = None,
    overlap_tokens: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"Repeated of the passage before ({OVERLAP_TOKENS}); only for a new index.",
        ),
    ] = None,
    largest_mib: Annotated[
        int, typer.Option(min=1, max=1024, help="Larger documents are refused.")
    ] = Limits.document_bytes // MIB,
    as_json: AsJson = False,
) -> int:
    """Add text, Markdown, HTML and PDF, or bring what was added before up to date.

    Only what has changed is embedded again; what is gone from a folder is removed. Exit code 1
    if a document was refused.
    """
    check_name(name)
    embedder = Embedder(model)
    with _progress() as progress:
        report = add(
            name,
            paths,
            embedder,
            passage_tokens=passage_tokens,
            overlap_tokens=overlap_tokens,
            limits=Limits(document_bytes=largest_mib * MIB),
            progress=progress,
        )
    if as_json:
        typer.echo(json.dumps({"index": name, **asdict(report)}))
    else:
        _print_report(name, report)
    return 1 if report.refused else 0


@rag.command("list")
def list_indexes(
    name: Annotated[str | None, typer.Argument(help="An index, to list its documents.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the indexes, or the documents of one."""
    if name is None:
        _list_all(as_json)
        return
    with _opened(name) as store:
        documents = store.documents()
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in documents]))
        return
    table = Table("Document", "Passages", "Size", box=None, pad_edge=False)
    for each in documents:
        table.add_row(Text(clean(each.source)), str(each.passages), _size(each.size))
    Console(highlight=False).print(table)


@rag.command("search")
def search_index(
    name: str,
    question: str,
    model: Model = None,
    top_k: Annotated[int, typer.Option(min=1, max=50, help="Most passages to find.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show which passages a question finds, and with what score."""
    embedder = Embedder(model)
    store = open_index(name, embedder)
    try:
        found = store.search(embedder.embed([question])[0], top_k, -1.0)
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found]))
        return
    console = Console(highlight=False)
    for each in found:
        console.print(Text(f"{each.score:.3f}  {clean(each.source)}", style="bold"))
        console.print(Text(clean(each.text)))


@rag.command("remove")
def remove(
    name: str,
    document: Annotated[
        str | None, typer.Argument(help="One document, as `rag list NAME` names it.")
    ] = None,
) -> None:
    """Remove an index, or one document from it; the files themselves stay."""
    backend = find_backend()
    if document is None:
        backend.remove(name)
        typer.echo(f"{name}: removed.")
        return
    with backend.writing(name), _opened(name) as store:
        meant = [each for each in store.documents() if document in (each.source, each.path)]
        if not meant:
            raise InvalidDocument(
                f"The index {name!r} holds no document {document!r}; see `turnlab rag list {name}`."
            )
        if len(meant) > 1 and len({each.path for each in meant}) > 1:
            paths = ", ".join(sorted(each.path for each in meant))
            raise InvalidDocument(
                f"{name!r} holds several {document!r}; name one by its path: {paths}."
            )
        store.drop([each.path for each in meant])
    typer.echo(f"{name}: removed {document}.")


def _list_all(as_json: bool) -> None:
    rows = {name: _summary(name) for name in find_backend().names()}
    if as_json:
        typer.echo(json.dumps([_row(name, row) for name, row in rows.items()]))
        return
    heads = ("Index", "Documents", "Passages", "Size", "Model", "Kept in")
    table = Table(*heads, box=None, pad_edge=False)
    for name, row in rows.items():
        cells = [row.code] if isinstance(row, TurnlabError) else _cells(row)
        table.add_row(Text(name, style="bold"), *(Text(clean(cell)) for cell in cells))
    Console(highlight=False).print(table)


def _summary(name: str) -> IndexSummary | TurnlabError:
    """One that is damaged must not hide the others."""
    try:
        with _opened(name) as store:
            return store.summary()
    except TurnlabError as error:
        return error


def _row(name: str, row: IndexSummary | TurnlabError) -> dict[str, Any]:
    if isinstance(row, TurnlabError):
        return {"name": name, "error": {"code": row.code, "message": row.message}}
    return asdict(row)


def _cells(row: IndexSummary) -> list[str]:
    counts = [str(row.documents), str(row.passages), _size(row.bytes)]
    return [*counts, row.facts.model, row.backend]


@contextmanager
def _opened(name: str) -> Iterator[Store]:
    store = find_backend().open(name)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _progress() -> Iterator[Progress]:
    """A line on the terminal that says which document is being embedded; nothing in a pipe."""
    console = Console(stderr=True, highlight=False)
    with console.status("reading") as status:

        def tell(source: str, done: int, of: int) -> None:
            status.update(Text(f"{clean(source)}: {done} of {of} passages"))

        yield tell


def _print_report(name: str, report: Report) -> None:
    console = Console(highlight=False)
    parts = [
        f"{len(sources)} {what}"
        for what in ("added", "changed", "unchanged", "removed", "refused")
        for sources in [getattr(report, what)]
    ]
    console.print(Text(f"{name}: {', '.join(parts)}; {report.embedded} passages embedded."))
    for what in ("added", "changed", "removed"):
        _print_names(console, what, getattr(report, what))
    for refusal in report.refused:
        console.print(Text(f"  refused {clean(refusal.source)}: {refusal.code}", style="red"))
        console.print(Text(f"    {clean(refusal.message)}"))


def _print_names(console: Console, what: str, sources: list[str]) -> None:
    for source in sources[:SHOWN]:
        console.print(Text(f"  {what} {clean(source)}"))
    if len(sources) > SHOWN:
        console.print(Text(f"  {what} {len(sources) - SHOWN} more"))


def _size(size: int) -> str:
    """Bytes in the unit that people read."""
    return f"{size / MIB:.1f} MiB" if size >= MIB else f"{size / 1024:.1f} KiB"
