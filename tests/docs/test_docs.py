"""What the documentation shows is what the software says."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from flight.topology import topology

ROOT = Path(__file__).resolve().parents[2]


def test_the_topology_in_the_architecture_page_is_the_declared_one() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- topology -->\n```mermaid\n(.*?)\n```", page, re.DOTALL)
    assert shown is not None
    declared = CliRunner().invoke(topology, ["--graph"])
    assert declared.exit_code == 0, declared.output
    assert shown.group(1).strip() == declared.output.strip(), "paste the output of `skyrack topology --graph`"


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
