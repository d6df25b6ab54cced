"""Payload files as blocks that the receiver asks for, so that a broken contact resumes where it stopped.

The holder offers a file as an item, with the hash of each block; the receiver asks for the blocks that it lacks by
bitmap, again and again, verifies each on arrival, and gives a receipt, an item again, when the whole is on its disk.
Offers and receipts are delivered once; requests and blocks may be lost, repeated and reordered at will.
"""

from __future__ import annotations

from skyrack.delivery.blocks import store
from skyrack.delivery.blocks.book import FileBook
from skyrack.delivery.blocks.exchange import FileExchange
from skyrack.delivery.blocks.layout import BLOCK_BYTES, Description, Layout, describe, describe_file, offer_of
from skyrack.delivery.blocks.receiver import BlockCounters
from skyrack.delivery.blocks.spool import DirectorySpool, MemorySpool, Spool
from skyrack.delivery.blocks.store import Held

__all__ = [
    "BLOCK_BYTES",
    "BlockCounters",
    "Description",
    "DirectorySpool",
    "FileBook",
    "FileExchange",
    "Held",
    "Layout",
    "MemorySpool",
    "Spool",
    "describe",
    "describe_file",
    "offer_of",
    "store",
]
