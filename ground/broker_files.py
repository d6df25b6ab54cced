"""Configuration of mosquitto for a ground and its satellites: TLS with certificates of both sides, and who may what.

What stands in ``deploy/mosquitto`` is written by this, for ``/etc/mosquitto/skyrack``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ground.certificates import AUTHORITY, BROKER
from skyrack.backhaul import down_topic, state_topic, up_topic

__all__ = ["DEPLOYED", "GROUND", "access_list", "configuration"]

GROUND: Final = "ground"
"""Common name of the ground's certificate."""
DEPLOYED: Final = Path("/etc/mosquitto/skyrack")

_CONFIGURATION: Final = """\
# mosquitto for Skyrack. Whoever connects shows a certificate of our own authority; its common name is who it is.
listener {port}
cafile {directory}/{authority}.crt
certfile {directory}/{broker}.crt
keyfile {directory}/{broker}.key
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
# And the name under which its session is known: nobody ends another's by taking its client id.
use_username_as_clientid true
# A stolen certificate: put it into a revocation list (openssl ca -gencrl) and name that here.
# crlfile {directory}/ca.crl

allow_anonymous false
acl_file {directory}/acl

# Delivery is end to end and repeats what is lost. A broker that drops in silence only costs time: let it queue.
max_queued_messages 0
max_inflight_messages 100
# A frame is at most 64 KiB.
max_packet_size 131072
# Nothing that matters is kept by the broker.
persistence false
"""


def configuration(directory: Path = DEPLOYED, port: int = 8883) -> str:
    """``mosquitto.conf``, with certificates and access list in ``directory``."""
    return _CONFIGURATION.format(directory=directory, port=port, authority=AUTHORITY, broker=BROKER)


def access_list() -> str:
    """``acl``: a satellite sends on its own topics and reads its own ``up``; the ground the reverse."""
    return f"""\
# The ground sends up, and hears everything that comes down.
user {GROUND}
topic write {up_topic("+")}
topic read {down_topic("+", "+")}
topic read {state_topic("+")}

# A satellite (%u: the common name of its certificate) speaks for itself only, and hears only what is for it.
pattern write {down_topic("%u", "+")}
pattern write {state_topic("%u")}
pattern read {up_topic("%u")}
"""
