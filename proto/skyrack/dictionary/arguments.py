"""Commands and parameters checked against the dictionary, and built from what a person typed."""

from __future__ import annotations

import math
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeVar

from skyrack.dictionary.model import Argument, Command, Kind
from skyrack.dictionary.read import arguments_of, commands, parameters_of
from skyrack.errors import UserError
from skyrack.files import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def check_arguments(message: Message) -> list[str]:
    """Sentences on what is wrong with a command's arguments; empty when all is well."""
    problems: list[str] = []
    for argument in arguments_of(type(message)):
        value = getattr(message, argument.name)
        if argument.required and not _given(message, argument):
            problems.append(f"{argument.name} is missing: {_wanted(argument)}")
        elif argument.kind is Kind.ENUM and value and value not in dict(argument.choices):
            problems.append(f"{argument.name} is {value}: {_wanted(argument)}")
        elif argument.kind in (Kind.NUMBER, Kind.INTEGER):
            numbers = list(value) if argument.repeated else [value] if value or argument.required else []
            problems += [text for number in numbers if (text := _outside(argument, number))]
    return problems


def _given(message: Message, argument: Argument) -> bool:
    if message.DESCRIPTOR.fields_by_name[argument.name].has_presence:
        return message.HasField(argument.name)
    if argument.kind in (Kind.NUMBER, Kind.INTEGER, Kind.BOOLEAN) and not argument.repeated:
        return True  # zero is a value, and proto3 cannot tell it from none unless the field is declared optional
    return bool(getattr(message, argument.name))


def _outside(argument: Argument, number: float) -> str | None:
    low = argument.minimum if argument.minimum is not None else -math.inf
    high = argument.maximum if argument.maximum is not None else math.inf
    if math.isfinite(number) and low <= number <= high:
        return None
    return f"{argument.name} is {number:g}: {_wanted(argument)}"


def _wanted(argument: Argument) -> str:
    if argument.choices:
        return "must be one of " + ", ".join(short_choice(argument, name) for _, name in argument.choices)
    noun = "a number"
    if argument.kind is Kind.INTEGER:
        noun = "a whole number"
    if argument.kind not in (Kind.NUMBER, Kind.INTEGER):
        return f"must be given ({argument.description[:1].lower()}{argument.description[1:]})"
    return f"must be {noun}{_range(argument.minimum, argument.maximum)}"


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" of at least {low:g}"
    return f" of at most {high:g}" if high is not None else ""


def short_choice(argument: Argument, name: str) -> str:
    """An enumeration's word as a person types it: ``MODE_SAFE`` is ``safe``."""
    words = zip(*(choice.split("_") for _, choice in argument.choices), strict=False)
    shared = len(list(takewhile(lambda column: len(set(column)) == 1, words)))
    return "_".join(name.split("_")[shared:]).lower() or name.lower()


def check_parameters(message: Message) -> list[str]:
    """Sentences on what is wrong with a set of parameters; empty when all is well."""
    problems = []
    for parameter in parameters_of(type(message)):
        value = getattr(message, parameter.name)
        if not parameter.minimum <= value <= parameter.maximum:  # also when it is not a number
            bounds = _range(parameter.minimum, parameter.maximum)
            problems.append(f"{parameter.name} is {value:g}: must be a number{bounds} {parameter.unit}".rstrip())
    return problems


def default_parameters(message: type[M]) -> M:
    """Parameters of a service, each at its default."""
    made = message()
    for parameter in parameters_of(message):
        whole = parameter.kind in (Kind.INTEGER, Kind.BOOLEAN, Kind.ENUM)
        setattr(made, parameter.name, int(parameter.default) if whole else parameter.default)
    return made


def apply_parameters(current: M, values: Iterable[tuple[str, float]]) -> M:
    """A checked copy of ``current`` with some parameters changed.

    Raises:
        UserError: a name is unknown or a value outside its range; nothing is changed.
    """
    made = type(current)()
    made.CopyFrom(current)
    known = {parameter.name: parameter for parameter in parameters_of(type(current))}
    for name, value in values:
        if name not in known:
            raise UserError(f"there is no parameter {name}; {suggest(name, known)}")
        if known[name].kind is Kind.NUMBER:
            setattr(made, name, value)
        elif math.isfinite(value) and float(value).is_integer():
            setattr(made, name, int(value))
        else:
            raise UserError(f"{name} is {value:g}: must be a whole number")
    problems = check_parameters(made)
    if problems:
        raise UserError("; ".join(problems))
    return made


def command_named(name: str) -> Command:
    """Find a command by ``SetLoadSwitch``, ``set_load_switch`` or ``set-load-switch``.

    Raises:
        UserError: there is no such command; the message suggests one.
    """
    camel = "".join(word[:1].upper() + word[1:] for word in name.replace("-", "_").split("_"))
    wanted = camel.lower()
    for command in commands().values():
        if command.name.lower() == wanted:
            return command
    raise UserError(f"there is no command {name}; {suggest(camel, commands())}")


def build_request(command: Command, values: Mapping[str, str]) -> Message:
    """Make a command's message from texts that a person typed, and check it.

    Raises:
        UserError: an argument is unknown, cannot be read, is missing, or lies outside its range.
    """
    known = {argument.name: argument for argument in command.arguments}
    message = command.rpc.request()
    for name, text in values.items():
        argument = known.get(name)
        if argument is None:
            raise UserError(f"{command.name} has no argument {name}; {suggest(name, known)}")
        if argument.kind is Kind.MESSAGE:
            _fill(message, argument, text)
        elif argument.repeated:
            getattr(message, name).extend(_scalar(argument, part) for part in text.split(","))
        else:
            setattr(message, name, _scalar(argument, text))
    problems = check_arguments(message)
    if problems:
        raise UserError(f"{command.name}: " + "; ".join(problems))
    return message


def _fill(message: Message, argument: Argument, text: str) -> None:
    """Messages inside a command are typed as ``name=value,name=value``.

    These are the fields of the one message, or, where it repeats, the ``name`` and ``value`` of each.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for name, separator, _ in pairs:
        if not separator:
            raise UserError(f'{argument.name} has "{name}": must be name=value, with commas between')
    inside = getattr(message, argument.name)
    if argument.repeated:
        for name, _, value in pairs:
            item = inside.add()
            fields = {inner.name: inner for inner in arguments_of(type(item))}
            item.name, item.value = name.strip(), _scalar(fields["value"], value)
        return
    inside.SetInParent()
    fields = {inner.name: inner for inner in arguments_of(type(inside))}
    for name, _, value in pairs:
        if name.strip() not in fields:
            raise UserError(f"{argument.name} has no {name.strip()}; {suggest(name.strip(), fields)}")
        setattr(inside, name.strip(), _scalar(fields[name.strip()], value))


def _scalar(argument: Argument, text: str) -> Any:
    word = text.strip().lower()
    refused = UserError(f'{argument.name} is "{text}": {_wanted(argument)}')
    try:
        if argument.kind is Kind.NUMBER:
            return float(word)
        if argument.kind is Kind.INTEGER:
            return int(word)
    except ValueError:
        raise refused from None
    if argument.kind is Kind.BOOLEAN:
        if word not in _TRUE | _FALSE:
            raise UserError(f'{argument.name} is "{text}": must be true or false')
        return word in _TRUE
    if argument.kind is Kind.ENUM:
        for number, name in argument.choices:
            if word in (name.lower(), short_choice(argument, name)):
                return number
        raise refused
    return text.encode() if argument.kind is Kind.BYTES else text
