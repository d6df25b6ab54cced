"""Say of each input file what it is, by its content, with Magika: a trained model, no network.

Reads the files in SKYRACK_INPUT_DIR, writes results.json into SKYRACK_OUTPUT_DIR. Where a file expected.json lies
among the inputs, it names the true labels, and the results say how many were right.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from magika import Magika

INPUT = Path(os.environ.get("SKYRACK_INPUT_DIR", "."))
OUTPUT = Path(os.environ.get("SKYRACK_OUTPUT_DIR", "output"))
PROGRESS_FD = int(os.environ.get("SKYRACK_PROGRESS_FD", "1"))


def main() -> int:
    """Identify all files."""
    found = sorted(path for path in INPUT.rglob("*") if path.is_file())
    answers = next((path for path in found if path.name == "expected.json"), None)
    expected: dict[str, str] = json.loads(answers.read_text()) if answers else {}
    files = [path for path in found if path != answers]
    magika = Magika()
    results = []
    begun = time.monotonic()
    for number, path in enumerate(files, 1):
        result = magika.identify_path(path)
        results.append(
            {
                "file": path.name,
                "label": result.output.label.value,
                "mime_type": result.output.mime_type,
                "score": round(float(result.score), 4),
                "expected": expected.get(path.name),
            }
        )
        os.write(PROGRESS_FD, json.dumps({"progress": number / len(files), "file": path.name}).encode() + b"\n")
    seconds = time.monotonic() - begun
    judged = [result for result in results if result["expected"]]
    right = sum(result["label"] == result["expected"] for result in judged)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    summary = {
        "model": magika.get_model_name(),
        "files": len(files),
        "accuracy": right / len(judged) if judged else None,
        "seconds_per_file": round(seconds / max(1, len(files)), 5),
        "results": results,
    }
    (OUTPUT / "results.json").write_text(json.dumps(summary, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
