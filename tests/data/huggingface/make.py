"""Makes `saved` and `parquet` with the Hugging Face library: pip install datasets==5.2.0 pillow."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Image, List, Value

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from tests.unit.dataset_parts import png, wav  # noqa: E402

FEATURES = Features(
    {
        "audio": {"bytes": Value("binary"), "path": Value("string")},
        "sentence": Value("string"),
        "label": ClassLabel(names=["angry", "happy"]),
        "when": Value("timestamp[us]"),
        "words": List({"w": Value("string"), "start": Value("float32")}),
        "speaker_id": Value("int64"),
        "images": List(Image()),
    }
)

ROWS = [
    {
        "audio": {"bytes": wav(n + 1), "path": f"/home/ann/clip_{n}.wav"},
        "sentence": f"number {n} é",
        "label": n % 2,
        "when": datetime(2026, 1, 1, n),
        "words": [{"w": "a", "start": 0.25 * n}],
        "speaker_id": n,
        "images": [{"bytes": png(n), "path": "p.png"}],
    }
    for n in range(3)
]

made = Dataset.from_list(ROWS, features=FEATURES).cast_column("audio", Audio(sampling_rate=16_000))
made.info.license = "CC0"
parts = DatasetDict({"train": made, "test": made.select([1])})
parts.save_to_disk(HERE / "saved")
for name, part in parts.items():
    part.to_parquet(HERE / "parquet" / "data" / f"{name}-00000-of-00001.parquet")
