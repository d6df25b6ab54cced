"""How a file falls into blocks, and the offer that says so. No I/O but for reading the file that is described."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skyrack.v1.backhaul_pb2 import FileOffer

BLOCK_BYTES: Final = 28_000
"""With its surroundings, one frame."""

MAXIMUM_BLOCK_BYTES: Final = 65_536
MAXIMUM_FILE_BYTES: Final = 1 << 30
MAXIMUM_BLOCKS: Final = 65_536
DIGEST_BYTES: Final = 32

INLINE_BLOCKS: Final = 700
"""So many hashes go in an offer itself, which then fits a frame; of a file with more (19.6 MB) they come first, as
blocks of a list."""


class OfferError(ValueError):
    """The offer's numbers do not add up; the sentence says which."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A file and its blocks: all but the last have ``block_bytes``."""

    sha256: bytes
    total_bytes: int
    block_bytes: int

    @property
    def blocks(self) -> int:
        """How many blocks there are; an empty file has none."""
        return -(-self.total_bytes // self.block_bytes)

    def offset(self, index: int) -> int:
        """Where a block begins, in bytes."""
        return index * self.block_bytes

    def size(self, index: int) -> int:
        """Bytes of a block."""
        return min(self.block_bytes, self.total_bytes - self.offset(index))


@dataclass(frozen=True, slots=True)
class Description:
    """A file with the SHA-256 of each of its blocks, one after the other."""

    layout: Layout
    hashes: bytes

    @property
    def list_layout(self) -> Layout:
        """The list of hashes, taken as a file."""
        return Layout(hashlib.sha256(self.hashes).digest(), len(self.hashes), BLOCK_BYTES)

    @property
    def has_list(self) -> bool:
        """Whether the hashes are too many for an offer."""
        return self.layout.blocks > INLINE_BLOCKS


def describe(pieces: Iterable[bytes], block_bytes: int = BLOCK_BYTES) -> Description:
    """Describe a file that is given in pieces of any size."""
    whole = hashlib.sha256()
    hashes = bytearray()
    total, rest = 0, b""
    for piece in pieces:
        whole.update(piece)
        total += len(piece)
        rest += piece
        cut = len(rest) - len(rest) % block_bytes
        for offset in range(0, cut, block_bytes):
            hashes += hashlib.sha256(rest[offset : offset + block_bytes]).digest()
        rest = rest[cut:]
    if rest:
        hashes += hashlib.sha256(rest).digest()
    return Description(Layout(whole.digest(), total, block_bytes), bytes(hashes))


def describe_file(path: Path, block_bytes: int = BLOCK_BYTES) -> Description:
    """Describe a file on the disk. Raises ``OSError``."""
    with path.open("rb") as file:
        return describe(iter(lambda: file.read(16 * block_bytes), b""), block_bytes)


def digests(hashes: bytes) -> Iterator[bytes]:
    """The single hashes of a list."""
    return (hashes[at : at + DIGEST_BYTES] for at in range(0, len(hashes), DIGEST_BYTES))


def offer_of(description: Description, job_id: str, attempt: int) -> FileOffer:
    """The offer of a file for a job."""
    layout = description.layout
    offer = FileOffer(
        sha256=layout.sha256,
        total_bytes=layout.total_bytes,
        block_bytes=layout.block_bytes,
        job_id=job_id,
        attempt=attempt,
    )
    if description.has_list:
        blocks = description.list_layout
        offer.list_sha256 = blocks.sha256
        pieces = (description.hashes[at : at + BLOCK_BYTES] for at in range(0, blocks.total_bytes, BLOCK_BYTES))
        offer.list_block_sha256.extend(hashlib.sha256(piece).digest() for piece in pieces)
    else:
        offer.block_sha256.extend(digests(description.hashes))
    return offer


@dataclass(frozen=True, slots=True)
class Offered:
    """What an offer says of a file: the hashes of its blocks, or else the list that holds them."""

    layout: Layout
    hashes: bytes | None
    list_layout: Layout | None = None
    list_hashes: bytes = b""


def check_offer(offer: FileOffer, limit_bytes: int) -> Offered:
    """What the offer says, if it can be true.

    Raises:
        OfferError: it cannot, or the file is larger than ``limit_bytes``.
    """
    name = f"the file that is offered for job {offer.job_id}"
    if len(offer.sha256) != DIGEST_BYTES:
        raise OfferError(f"{name} has a SHA-256 of {len(offer.sha256)} bytes; {DIGEST_BYTES} are right")
    if not 1 <= offer.block_bytes <= MAXIMUM_BLOCK_BYTES:
        raise OfferError(f"{name} has blocks of {offer.block_bytes} bytes; from 1 to {MAXIMUM_BLOCK_BYTES} are right")
    if offer.total_bytes > limit_bytes:
        raise OfferError(f"{name} has {offer.total_bytes:,} bytes; at most {limit_bytes:,} are taken")
    layout = Layout(offer.sha256, offer.total_bytes, offer.block_bytes)
    if layout.blocks > MAXIMUM_BLOCKS:
        raise OfferError(f"{name} has {layout.blocks} blocks; at most {MAXIMUM_BLOCKS} are taken")
    if not offer.list_sha256:
        return Offered(layout, _joined(name, offer.block_sha256, layout.blocks))
    listed = Layout(offer.list_sha256, layout.blocks * DIGEST_BYTES, BLOCK_BYTES)
    if len(offer.list_sha256) != DIGEST_BYTES:
        raise OfferError(f"{name} has a list whose SHA-256 has {len(offer.list_sha256)} bytes")
    return Offered(layout, None, listed, _joined(name, offer.list_block_sha256, listed.blocks))


def _joined(name: str, hashes: Iterable[bytes], blocks: int) -> bytes:
    every = list(hashes)
    if len(every) != blocks or any(len(one) != DIGEST_BYTES for one in every):
        raise OfferError(f"{name} has {blocks} blocks and {len(every)} hashes; each needs one of {DIGEST_BYTES} bytes")
    return b"".join(every)
