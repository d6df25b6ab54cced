"""``skyrack hil guards``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from skyrack.errors import UserError

if TYPE_CHECKING:
    from hil.boards.client import AgentClient, Place

_PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.2


@click.command()
@click.option("--name", default="", help="Name of the run. [default: the bench that is up]")
@click.option("--board", default="", help="Only this board.")
@click.option("--clear", is_flag=True, help="Let go what the guards hold; they act again when they have to.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def guards(name: str, board: str, clear: bool, as_json: bool) -> None:
    """Show what the guards of a bench that is up did to its boards, and clear it when the reason is gone."""
    places = _places(name, board)
    found = asyncio.run(_ask(places, clear=clear))
    if as_json:
        json.dump(found, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    for each, state in found.items():
        for line in _lines(state):
            click.echo(f"{each}: {line}")


def _lines(state: Mapping[str, Any]) -> list[str]:
    if not state.get("guards") and not state.get("problems"):
        return ["no guards"]
    lines = [str(acted["why"]) for acted in state.get("acted", ())]
    lines += [f"sees nothing: {problem}" for problem in state.get("blind", {}).values()]
    lines += [f"cannot act: {problem}" for problem in state.get("problems", {}).values()]
    return lines or [f"{state['guards']} guards watch, none acted"]


def _places(name: str, board: str) -> Sequence[Place]:
    """How the boards of a run are reached. Raises UserError."""
    from hil.boards.client import Place
    from hil.boards.session import BOARDS_FILE
    from hil.sil.instance import HOME
    from skyrack.files import suggest

    up = {path.parent.name: path for path in sorted(HOME.glob(f"*/{BOARDS_FILE}"))}
    if name and name not in up:
        raise UserError(f"--name {name}: no bench of this name is up here; {suggest(name, up)}")
    if not up:
        raise UserError("no bench is up here: start one with 'skyrack hil run BENCH'")
    if len(up) > 1 and not name:
        raise UserError(f"several benches are up here: say which by --name: {', '.join(up)}")
    boards = json.loads(up[name or next(iter(up))].read_text(encoding="utf-8"))["boards"]
    names = [each["name"] for each in boards]
    if board and board not in names:
        raise UserError(f"--board {board}: the bench has no such board; {suggest(board, names)}")
    return [
        Place(each["name"], each["address"], each["python"], each["directory"])
        for each in boards
        if board in {"", each["name"]}
    ]


async def _ask(places: Sequence[Place], *, clear: bool) -> dict[str, Mapping[str, Any]]:
    found = await asyncio.gather(*(_ask_one(place, clear=clear) for place in places))
    return {place.name: state for place, state in zip(places, found, strict=True)}


async def _ask_one(place: Place, *, clear: bool) -> Mapping[str, Any]:
    from hil.boards.client import connected

    async with connected(place) as agent:
        state = await _state(agent)
        if not clear or not state.get("acted"):
            return state
        await agent.ask("clear-guards")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_SECONDS
        # Whoever guards takes the request away when it has done it.
        while await agent.get("guards.clear") is not None:
            if loop.time() > deadline:
                raise UserError(
                    f"board {place.name}: its guards do not answer; see logs/guards.out in {place.directory} there"
                )
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.sleep(_POLL_SECONDS)
        return await _state(agent)


async def _state(agent: AgentClient) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (await agent.ask("status"))["guards"]
    return found
