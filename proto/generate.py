"""Generate the Python modules of the contract from the .proto files beside this script."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent


def generate(root: Path = ROOT) -> None:
    """Write ``*_pb2.py`` and ``*_pb2.pyi`` next to each .proto file.

    Raises:
        RuntimeError: protoc refused a file; its message stands on standard error.
    """
    sources = sorted(str(path.relative_to(root)) for path in root.glob("skyrack/**/*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    arguments = ["protoc", f"-I{root}", f"-I{well_known}", f"--python_out={root}", f"--pyi_out={root}", *sources]
    if protoc.main(arguments) != 0:
        raise RuntimeError(f"protoc could not compile the contract in {root}")


if __name__ == "__main__":
    generate()
    sys.stdout.write("contract generated\n")
