from __future__ import annotations

import json
import subprocess
import sys

from click.testing import CliRunner

from flight.topology import Node, Topology, dot, mermaid, read_topology, topology

POWER = Node("power", ("PowerStatus",), (("Health", "*"),), ("SetLoadSwitch",), (("control", 1.0),), "PowerParameters")
COMPUTE = Node("compute", (), (("PowerStatus", "power"), ("PowerBudget", "power")), (), (), "")
GRAPH = Topology((POWER, COMPUTE), ("laser",))


def test_edges_go_from_publisher_to_hearer() -> None:
    assert GRAPH.edges() == [
        ("compute", "Health", "power"),
        ("power", "PowerStatus", "compute"),
        ("power", "PowerBudget", "compute"),
    ]


def test_what_is_heard_but_never_published_is_found() -> None:
    assert GRAPH.unheard() == [("power", "PowerBudget")]


def test_drawings() -> None:
    assert mermaid(GRAPH).splitlines()[-1] == '    power -->|"PowerStatus<br>PowerBudget"| compute'
    assert '"power" -> "compute" [label="PowerStatus\\nPowerBudget"];' in dot(GRAPH)


def test_the_services_that_are_there_fit_together() -> None:
    # In a process of its own: other tests declare services of the same names.
    program = (
        "import json; from flight.topology import read_topology; t = read_topology();"
        "print(json.dumps([t.unheard(), [n.service for n in t.nodes], t.missing]))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    unheard, services, missing = json.loads(output)
    assert unheard == []
    assert len(services) + len(missing) == 7


def test_a_service_that_is_not_installed_is_named() -> None:
    assert read_topology(("nowhere",)) == Topology((), ("nowhere",))


def test_the_command_prints_in_every_form() -> None:
    for options in ([], ["--graph"], ["--dot"], ["--json"]):
        result = CliRunner().invoke(topology, options)
        assert result.exit_code == 0, result.output
    assert set(json.loads(result.output)) == {"nodes", "missing"}
