"""The dictionary: what every telemetry field, command and parameter means, read from the contract's descriptors.

Nothing here is typed twice: units, descriptions, limits, ranges and defaults stand in the .proto files and nowhere
else. All results are frozen and cached; messages of the contract go in, plain values come out.
"""

from __future__ import annotations

from skyrack.dictionary.arguments import (
    apply_parameters,
    build_request,
    check_arguments,
    check_parameters,
    command_named,
    default_parameters,
)
from skyrack.dictionary.flatten import Sample, samples
from skyrack.dictionary.model import Argument, Command, Kind, Parameter, Rpc, TelemetryField, TelemetryMessage
from skyrack.dictionary.read import (
    arguments_of,
    commands,
    default_limits,
    message_type,
    parameters,
    parameters_of,
    read_limits,
    rpcs,
    telemetry,
    telemetry_fields,
    write_limits,
)

__all__ = [
    "Argument",
    "Command",
    "Kind",
    "Parameter",
    "Rpc",
    "Sample",
    "TelemetryField",
    "TelemetryMessage",
    "apply_parameters",
    "arguments_of",
    "build_request",
    "check_arguments",
    "check_parameters",
    "command_named",
    "commands",
    "default_limits",
    "default_parameters",
    "message_type",
    "parameters",
    "parameters_of",
    "read_limits",
    "rpcs",
    "samples",
    "telemetry",
    "telemetry_fields",
    "write_limits",
]
