"""The generated modules are those of the .proto files, and their bytes are the same in every process."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from skyrack import dictionary
from skyrack.v1 import options_pb2

ROOT = Path(options_pb2.__file__).resolve().parents[2]


def test_generated_modules_match_the_proto_files(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for source in ROOT.glob("skyrack/v1/*.proto"):
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    module.generate(tmp_path)
    stale = [
        made.name
        for made in tmp_path.glob("skyrack/v1/*_pb2.py")
        if made.read_text() != (ROOT / made.relative_to(tmp_path)).read_text()
    ]
    assert stale == [], "run: python proto/generate.py"


def test_every_request_is_answered_by_one_rpc() -> None:
    requests = [rpc.request.DESCRIPTOR.full_name for rpc in dictionary.rpcs()]
    assert len(requests) == len(set(requests))
