"""Frames on the bus: [topic][Header][payload].

A topic is the message's full name, ``/``, an instance key, and a NUL, so that a subscription, which matches prefixes,
can name every instance (``skyrack.v1.JobStatus/``) or exactly one (``skyrack.v1.JobStatus/job-1`` and NUL).
"""

from __future__ import annotations

from google.protobuf.message import Message

KEYED_EVENTS_KEPT = 4096
"""Topics of events with an instance key, such as a job's, of which each side remembers the sequence."""

# Goes to nobody: it only uses up ZeroMQ's "next message is for the newcomer". A tap that subscribes to all may see it.
NULL_TOPIC = b"\0"


def topic_of(full_name: str, key: str = "") -> bytes:
    """Topic of one instance. Raises ValueError when the key could be mistaken for another."""
    if "\0" in key:
        raise ValueError(f"the key {key!r} of {full_name} holds a NUL; keys are plain text")
    return f"{full_name}/{key}\0".encode()


def prefix_of(message_type: type[Message], key: str | None) -> bytes:
    """What to subscribe to for one instance, or for all (``key`` None)."""
    name = message_type.DESCRIPTOR.full_name
    return f"{name}/".encode() if key is None else topic_of(name, key)


def split_topic(topic: bytes) -> tuple[str, str]:
    """Full name and key of a topic. Raises ValueError when it is not one."""
    name, slash, key = topic.partition(b"/")
    if not slash or not key.endswith(b"\0"):
        raise ValueError(f"{topic!r} is not a topic: it must be a name, '/', a key and a NUL")
    return name.decode(), key[:-1].decode()
