"""Train a small neural network on handwritten digits; may be stopped at any time and goes on where it was.

A program for orbit needs no library. It keeps what it must not lose in SKYRACK_CHECKPOINT_DIR, writes what should
come back into SKYRACK_OUTPUT_DIR, tells its progress in lines of JSON on the descriptor SKYRACK_PROGRESS_FD, and
ends soon after SIGTERM. Started on a desk, without any of these, it works in the current directory.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core was asked for
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

CHECKPOINTS = Path(os.environ.get("SKYRACK_CHECKPOINT_DIR", "checkpoint"))
CHECKPOINT = CHECKPOINTS / "model.npz"
OUTPUT = Path(os.environ.get("SKYRACK_OUTPUT_DIR", "output"))
PROGRESS_FD = int(os.environ.get("SKYRACK_PROGRESS_FD", "1"))
EX_TEMPFAIL = 75  # "try again later", sysexits.h

Arrays = dict[str, np.ndarray]


def report(**values: object) -> None:
    """Tell how far we are."""
    os.write(PROGRESS_FD, json.dumps(values).encode() + b"\n")


def load_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """1797 images of 8 x 8 pixels, a fifth of them kept for the test.

    What is costly to make again belongs into the checkpoint, too: here the data, which spares a resumed run the
    import of scikit-learn.
    """
    kept = CHECKPOINTS / "data.npz"
    if not kept.exists():
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        write_arrays(kept, images=digits.images[order] / 16.0, labels=digits.target[order])
    with np.load(kept) as data:
        images, labels = data["images"], data["labels"]
    cut = len(labels) * 4 // 5
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def initial(rng: np.random.Generator, hidden: int) -> Arrays:
    """A network with one hidden layer, He initialisation."""
    return {
        "w1": rng.normal(0, (2 / 64) ** 0.5, (64, hidden)),
        "b1": np.zeros(hidden),
        "w2": rng.normal(0, (2 / hidden) ** 0.5, (hidden, 10)),
        "b2": np.zeros(10),
    }


def forward(model: Arrays, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hidden activations and class probabilities."""
    hidden = np.maximum(x @ model["w1"] + model["b1"], 0)
    logits = hidden @ model["w2"] + model["b2"]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return hidden, exponentials / exponentials.sum(axis=1, keepdims=True)


def train_epoch(
    model: Arrays, velocity: Arrays, images: np.ndarray, labels: np.ndarray, seed: int, rate: float
) -> float:
    """One pass over the data, each image moved by up to a pixel; the mean loss."""
    rng = np.random.default_rng(seed)
    losses = []
    for batch in np.array_split(rng.permutation(len(labels)), len(labels) // 16):
        moved = np.stack([np.roll(images[i], rng.integers(-1, 2, 2), (0, 1)) for i in batch])
        x = moved.reshape(len(batch), 64)
        hidden, probabilities = forward(model, x)
        losses.append(-np.log(probabilities[np.arange(len(batch)), labels[batch]] + 1e-12).mean())
        probabilities[np.arange(len(batch)), labels[batch]] -= 1
        error = probabilities / len(batch)
        back = (error @ model["w2"].T) * (hidden > 0)
        gradients = {"w2": hidden.T @ error, "b2": error.sum(0), "w1": x.T @ back, "b1": back.sum(0)}
        for name, gradient in gradients.items():
            velocity[name] = 0.9 * velocity[name] - rate * (gradient + 1e-4 * model[name])
            model[name] += velocity[name]
    return float(np.mean(losses))


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write a file so that a cut of power leaves the old one or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def save(epoch: int, spent_seconds: float, model: Arrays, velocity: Arrays) -> None:
    """Write the checkpoint."""
    momentum = {f"velocity_{name}": value for name, value in velocity.items()}
    write_arrays(CHECKPOINT, epoch=epoch, spent_seconds=spent_seconds, **model, **momentum)


def main() -> int:
    """Train until the time is spent, all runs together, or until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=35.0, help="time to train for")
    parser.add_argument("--hidden", type=int, default=256, help="neurons of the hidden layer")
    parser.add_argument("--checkpoint-seconds", type=float, default=2.0, help="time between checkpoints")
    arguments = parser.parse_args()

    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    images, labels, test_images, test_labels = load_data()
    model = initial(np.random.default_rng(1), arguments.hidden)
    velocity = {name: np.zeros_like(value) for name, value in model.items()}
    epoch, before, resumed = 0, 0.0, CHECKPOINT.exists()
    if resumed:
        with np.load(CHECKPOINT) as stored:
            epoch, before = int(stored["epoch"]), float(stored["spent_seconds"])
            model = {name: stored[name] for name in model}
            velocity = {name: stored[f"velocity_{name}"] for name in model}
        sys.stderr.write(f"resumed after epoch {epoch}\n")

    begun = saved = time.monotonic()
    spent = before
    while spent < arguments.seconds:
        rate = 0.05 * 0.5 * (1 + np.cos(np.pi * spent / arguments.seconds))
        loss = train_epoch(model, velocity, images, labels, seed=epoch, rate=rate)
        epoch += 1
        now = time.monotonic()
        spent = before + now - begun
        if stopping or now - saved >= arguments.checkpoint_seconds:
            saved = now
            save(epoch, spent, model, velocity)
            report(progress=min(1.0, spent / arguments.seconds), epoch=epoch, loss=round(loss, 5))
        if stopping and spent < arguments.seconds:
            return EX_TEMPFAIL

    accuracy = float((forward(model, test_images.reshape(-1, 64))[1].argmax(1) == test_labels).mean())
    OUTPUT.mkdir(parents=True, exist_ok=True)
    np.savez(OUTPUT / "model.npz", **model)  # type: ignore[arg-type]
    metrics = {"accuracy": accuracy, "test_images": len(test_labels), "epochs": epoch, "resumed": resumed}
    (OUTPUT / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    report(progress=1.0, accuracy=accuracy)
    return 0


if __name__ == "__main__":
    sys.exit(main())
