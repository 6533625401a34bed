"""Take out of this environment what no program reads while it runs, some 90 MB.

The translations of Django lie there twice: as .mo, which are read, and as .po, which are for
translators and go. And the debugging sections are cut off the language model's library.

The wheel of xllamacpp is built with debugging information: 80 of the 106 MB of its one library,
which no program reads while it runs. Everything that the loader maps lies before the end of the
last segment, so the file is cut there and its table of sections, gone with the cut, is unset in
the header. Run by `./run` after an installation; a second run finds nothing to cut.
"""

import importlib.util
import os
import struct
from pathlib import Path

ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
SEGMENT_TABLE_AT, SECTION_TABLE_AT, SEGMENT_ENTRY_AT, SECTION_ENTRY_AT = 0x20, 0x28, 0x36, 0x3A
OFFSET_IN_SEGMENT, SIZE_IN_SEGMENT = 8, 32


def without_sections(library: bytes) -> bytes:
    """The library up to the end of its last segment (ELF-64, System V ABI, chapters 4 and 5)."""
    (table,) = struct.unpack_from("<Q", library, SEGMENT_TABLE_AT)
    entry_size, entries = struct.unpack_from("<HH", library, SEGMENT_ENTRY_AT)
    end = 0
    for at in range(table, table + entry_size * entries, entry_size):
        (offset,) = struct.unpack_from("<Q", library, at + OFFSET_IN_SEGMENT)
        (size,) = struct.unpack_from("<Q", library, at + SIZE_IN_SEGMENT)
        end = max(end, offset + size)
    slim = bytearray(library[:end])
    struct.pack_into("<Q", slim, SECTION_TABLE_AT, 0)
    struct.pack_into("<HHH", slim, SECTION_ENTRY_AT, 0, 0, 0)
    return bytes(slim)


def slim(path: Path) -> None:
    """Replace the file, since uv may have linked the same one into its cache."""
    library = path.read_bytes()
    if not library.startswith(ELF64_LITTLE_ENDIAN):
        return
    smaller = without_sections(library)
    if len(smaller) == len(library):
        return
    new = path.with_name(path.name + ".slim")
    new.write_bytes(smaller)
    new.chmod(path.stat().st_mode)
    os.replace(new, path)
    print(f"{path.name}: {len(library) / 1e6:.0f} MB cut to {len(smaller) / 1e6:.0f} MB")


def drop_sources_of_translations(package: Path) -> None:
    """Delete the .po files of a package."""
    for path in package.rglob("LC_MESSAGES/*.po"):
        path.unlink()


def main() -> None:
    django = importlib.util.find_spec("django")
    if django and django.origin:
        drop_sources_of_translations(Path(django.origin).parent)
    package = importlib.util.find_spec("xllamacpp")
    if package and package.origin:
        for path in Path(package.origin).parent.glob("*.so"):
            slim(path)


if __name__ == "__main__":
    main()
