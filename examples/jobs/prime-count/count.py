"""Count primes by a segmented sieve (Eratosthenes) on all cores, until so much processor time was used.

It may be stopped at any time: segments that were counted are in the checkpoint, and it goes on with the next one.
Standard library only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
from math import isqrt
from pathlib import Path

CHECKPOINT = Path(os.environ.get("SKYRACK_CHECKPOINT_DIR", "checkpoint")) / "counted.json"
OUTPUT = Path(os.environ.get("SKYRACK_OUTPUT_DIR", "output"))
PROGRESS_FD = int(os.environ.get("SKYRACK_PROGRESS_FD", "1"))
SEGMENT = 2_000_000
EX_TEMPFAIL = 75  # "try again later", sysexits.h


def sieve(limit: int) -> list[int]:
    """Primes up to a limit."""
    flags = bytearray([1]) * (limit + 1)
    flags[0:2] = b"\0\0"
    for number in range(2, isqrt(limit) + 1):
        if flags[number]:
            flags[number * number :: number] = bytes(len(range(number * number, limit + 1, number)))
    return [number for number, flag in enumerate(flags) if flag]


def count(segment: int) -> tuple[int, float]:
    """Primes in one segment, and the processor time that it took, seconds."""
    began = time.process_time()
    low, high = segment * SEGMENT, (segment + 1) * SEGMENT
    flags = bytearray([1]) * SEGMENT
    if segment == 0:
        flags[0:2] = b"\0\0"
    for prime in sieve(isqrt(high)):
        first = max(prime * prime, -(-low // prime) * prime)
        flags[first - low :: prime] = bytes(len(range(first, high, prime)))
    return sum(flags), time.process_time() - began


def main() -> int:
    """Count, keep, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu-seconds", type=float, default=90.0)
    wanted = parser.parse_args().cpu_seconds
    CHECKPOINT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    kept = {"segments": 0, "primes": 0, "cpu_seconds": 0.0}
    if CHECKPOINT.exists():
        kept = json.loads(CHECKPOINT.read_text())
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    cores = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    with multiprocessing.Pool(cores, initializer=signal.signal, initargs=(signal.SIGTERM, signal.SIG_DFL)) as pool:
        ahead = [pool.apply_async(count, (kept["segments"] + number,)) for number in range(cores)]
        while kept["cpu_seconds"] < wanted and not stopped:
            ahead[0].wait(0.2)
            if not ahead[0].ready():
                continue
            primes, seconds = ahead.pop(0).get()
            kept["segments"] += 1
            kept["primes"] += primes
            kept["cpu_seconds"] += seconds
            ahead.append(pool.apply_async(count, (kept["segments"] + cores - 1,)))
            CHECKPOINT.with_suffix(".new").write_text(json.dumps(kept))
            CHECKPOINT.with_suffix(".new").replace(CHECKPOINT)
            os.write(PROGRESS_FD, json.dumps({"progress": min(1.0, kept["cpu_seconds"] / wanted)}).encode() + b"\n")
        if stopped:
            # All that matters is in the checkpoint; nobody waits for segments that are half done.
            for worker in multiprocessing.active_children():
                worker.kill()
            os._exit(EX_TEMPFAIL)
    (OUTPUT / "primes.json").write_text(json.dumps({"below": kept["segments"] * SEGMENT, "primes": kept["primes"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
