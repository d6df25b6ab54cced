"""The form of a command, made from the dictionary: arguments with their units and ranges, and what is at stake."""

from __future__ import annotations

from typing import Final

from ground.access import Role
from ground.console.visit import Visit
from ground.console.widgets import button, element, field, text
from skyrack.dictionary import Argument, Command, Kind, build_request, commands
from skyrack.dictionary.arguments import short_choice
from skyrack.errors import UserError
from skyrack.v1 import options_pb2

__all__ = ["SendForm", "significance_of"]

_ROUTINE: Final = ("routine", "nominal", "")
_SIGNIFICANCE: Final[dict[int, tuple[str, str, str]]] = {
    options_pb2.SIGNIFICANCE_CAUTION: (
        "caution",
        "caution",
        "Caution: this changes how the satellite works. Look twice before you send it.",
    ),
    options_pb2.SIGNIFICANCE_CRITICAL: (
        "critical",
        "critical",
        "Critical: the satellite obeys it only with the signatures of two people.",
    ),
}
_UNITS: Final = ("seconds", "ratio", "watts", "celsius", "meters", "radians", "degrees", "bytes")
_ANY_SERVICE: Final = ("navigation", "power", "thermal", "compute", "laser", "gateway", "executive")


def significance_of(command: Command) -> tuple[str, str, str]:
    """Word, colour, and what to say before it is sent."""
    return _SIGNIFICANCE.get(command.significance, _ROUTINE)


class SendForm:
    """Satellite, command, arguments; and a button that says why, when it may not be pressed."""

    def __init__(self, visit: Visit, satellite: str = "") -> None:
        self._visit = visit
        names = visit.segment.picture.names
        self._satellite = satellite if satellite in names else (names[0] if names else "")
        self._command: Command | None = None
        self._values: dict[str, str] = {}
        self._service = ""
        known = sorted(commands().values(), key=lambda command: (command.rpc.on_board or "~", command.name))
        choices = [("", "Choose a command…")]
        choices += [
            (command.name, f"{command.rpc.on_board or 'any service'}: {command.name} ({significance_of(command)[0]})")
            for command in known
        ]
        with element("form", "sr-stack").on("submit", self._send, js_handler=_STOP):
            field(
                "satellite",
                self._set_satellite,
                label="Satellite",
                value=self._satellite,
                choices=[(name, name) for name in names],
                is_required=True,
            )
            field("command", self._choose, label="Command", value="", choices=choices, is_required=True)
            self._place = element("div", "sr-stack")
            self._outcome = element("div", "sr-stack", aria_live="polite")

    def _set_satellite(self, name: str) -> None:
        self._satellite = name

    def _choose(self, name: str) -> None:
        self._command = commands().get(name)
        self._values = {}
        self._service = ""
        self._place.clear()
        self._outcome.clear()
        if self._command is None:
            return
        with self._place:
            self._build(self._command)

    def _build(self, command: Command) -> None:
        word, level, warning = significance_of(command)
        with element("div"):
            text("span", word, f"state {level}")
            text("span", f" {command.description}.")
        if not command.rpc.on_board:
            self._service = _ANY_SERVICE[0]
            field(
                "service",
                self._set_service,
                label="Service",
                value=self._service,
                choices=[(name, name) for name in _ANY_SERVICE],
                is_required=True,
            )
        for argument in command.arguments:
            self._add(argument)
        if warning:
            element("div", "sr-problem" if word == "critical" else "sr-warn", warning)
        with element("div", "buttons"):
            made = button("Send", lambda: None, "primary", self._visit.refusal(Role.OPERATOR))
            made.props["type"] = "submit"

    def _set_service(self, name: str) -> None:
        self._service = name

    def _add(self, argument: Argument) -> None:
        def change(value: str) -> None:
            self._values[argument.name] = value

        unit = next((unit for unit in _UNITS if argument.name.endswith(f"_{unit}")), "")
        common = {
            "label": argument.name.removesuffix(f"_{unit}").replace("_", " "),
            "unit": unit,
            "is_required": argument.required,
        }
        choices = _choices(argument)
        if choices:
            first = ("", "Choose…" if argument.required else "as it is")
            field(argument.name, change, hint=argument.description, choices=[first, *choices], **common)  # type: ignore[arg-type]
            return
        attributes = {}
        if argument.kind in (Kind.NUMBER, Kind.INTEGER) and not argument.repeated:
            attributes = {"type": "number", "step": "1" if argument.kind is Kind.INTEGER else "any"}
            attributes |= {"min": f"{argument.minimum:g}"} if argument.minimum is not None else {}
            attributes |= {"max": f"{argument.maximum:g}"} if argument.maximum is not None else {}
        known = self._known(argument.name)
        if known:
            attributes["list"] = f"known-{argument.name}"
        field(argument.name, change, hint=_hint(argument), **common, **attributes)  # type: ignore[arg-type]
        if known:
            with element("datalist", id=f"known-{argument.name}"):
                for name in known:
                    element("option", value=name)

    def _known(self, name: str) -> list[str]:
        """Names that the satellite has told, for arguments that are one of them."""
        wanted = {"load": "load", "node": "node", "terminal": "terminal", "rule": "rule", "service": "service"}.get(
            name
        )
        if wanted is None:
            return []
        found: set[str] = set()
        for message in ("PowerStatus", "FaultRules", "SatelliteStatus"):
            newest = self._visit.segment.picture.newest(self._satellite, message)
            for part in ("loads", "rules", "services"):
                found |= {getattr(row, wanted, "") for row in getattr(newest[1] if newest else None, part, ())}
        lasers = self._visit.segment.picture.instances(self._satellite, "LaserStatus")
        found |= {getattr(laser, wanted, "") for laser in lasers}
        return sorted(found - {""})

    def _send(self) -> None:
        self._visit.later(self._do_send(), self._outcome)

    async def _do_send(self) -> None:
        command, visit = self._command, self._visit
        if command is None:
            return
        self._outcome.clear()
        values = {name: value for name, value in self._values.items() if value != ""}
        try:
            request = build_request(command, values)
            async with visit.doing(Role.OPERATOR, "send_command", f"{self._satellite} {command.name}"):
                record = await visit.segment.send(
                    self._satellite, command.name, request, service=self._service, submitter=visit.person.name
                )
        except (UserError, OSError) as error:
            with self._outcome:
                element("div", "sr-problem", str(error), role="alert")
            return
        with self._outcome:
            element(
                "div", "sr-good", f"{command.name} is on its way to {record.satellite}; its stages stand in the list."
            )


_STOP: Final = "(event) => { event.preventDefault(); emit(); }"


def _choices(argument: Argument) -> list[tuple[str, str]]:
    if argument.kind is Kind.BOOLEAN:
        return [("true", "true"), ("false", "false")]
    return [(short_choice(argument, name), short_choice(argument, name)) for _, name in argument.choices]


def _hint(argument: Argument) -> str:
    low, high = argument.minimum, argument.maximum
    limits = ""
    if low is not None and high is not None:
        limits = f", {low:g} to {high:g}"
    elif low is not None or high is not None:
        limits = f", at least {low:g}" if low is not None else f", at most {high:g}"
    form = "; name=value, with commas between" if argument.kind is Kind.MESSAGE else ""
    return f"{argument.description}{limits}{form}"
