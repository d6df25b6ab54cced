"""From a frame to signed bytes and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from google.protobuf.message import DecodeError

from skyrack.delivery.receiver import MalformedFrameError, ReplayWindow, check
from skyrack.delivery.settings import MAXIMUM_FRAME_BYTES
from skyrack.signing import FRAME, KeyEntry, KeyRing, Right, SigningKey, VerificationError
from skyrack.v1.backhaul_pb2 import Frame, SignedFrame


class Refusal(StrEnum):
    """Why a frame was dropped."""

    OVERSIZED = "oversized"
    MALFORMED = "malformed"
    FORGED = "forged"
    MISADDRESSED = "misaddressed"
    REPLAYED = "replayed"
    STALE = "stale"
    """Of an outbox epoch that is long over."""


class FrameRefusedError(Exception):
    """The frame is dropped."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        self.refusal = refusal
        self.detail = detail
        super().__init__(f"{refusal}: {detail}")


class FrameCodec:
    """Signs what ``name`` sends, and lets through only what a known key signed for ``name``."""

    def __init__(self, name: str, key: SigningKey, ring: KeyRing, peer_right: Right, now: Callable[[], float]) -> None:
        self._name = name
        self._key = key
        self._ring = ring
        self._peer_right = peer_right
        self._now = now
        self._replay: dict[str, ReplayWindow] = {}

    def seal(self, frame: Frame) -> bytes:
        """Serialize and sign."""
        data = frame.SerializeToString()
        signed = SignedFrame(frame=data, signature=self._key.sign(FRAME, data), key_id=self._key.key_id)
        return signed.SerializeToString()

    def open(self, payload: bytes) -> tuple[Frame, KeyEntry]:
        """Parse and verify; the frame has been seen then.

        Raises:
            FrameRefusedError: the frame is to be dropped.
        """
        frame, entry = self._verified(payload)
        self._admit(frame, entry)
        return frame, entry

    def verify(self, payloads: Sequence[bytes]) -> list[tuple[Frame, KeyEntry] | FrameRefusedError]:
        """Parse and verify frames, all but that they are new: in any thread, as signatures take long."""
        found: list[tuple[Frame, KeyEntry] | FrameRefusedError] = []
        for payload in payloads:
            try:
                found.append(self._verified(payload))
            except FrameRefusedError as error:
                found.append(error)
        return found

    def admit(self, found: tuple[Frame, KeyEntry] | FrameRefusedError) -> tuple[Frame, KeyEntry]:
        """The rest of ``open`` for one of those that ``verify`` found. Raises what ``open`` raises."""
        if isinstance(found, FrameRefusedError):
            raise found
        self._admit(*found)
        return found

    def _verified(self, payload: bytes) -> tuple[Frame, KeyEntry]:
        if len(payload) > MAXIMUM_FRAME_BYTES:
            raise FrameRefusedError(Refusal.OVERSIZED, f"{len(payload)} bytes, at most {MAXIMUM_FRAME_BYTES} are read")
        try:
            signed = SignedFrame.FromString(payload)
        except DecodeError:
            raise FrameRefusedError(Refusal.MALFORMED, "not a signed frame") from None
        try:
            entry = self._ring.verify(FRAME, signed.frame, signed.signature, signed.key_id, self._now())
        except VerificationError as error:
            raise FrameRefusedError(Refusal.FORGED, str(error)) from None
        try:
            frame = Frame.FromString(signed.frame)
            check(frame)
        except (DecodeError, MalformedFrameError) as error:
            raise FrameRefusedError(Refusal.MALFORMED, f"from {entry.name}: {error}") from None
        if frame.source != entry.name:
            raise FrameRefusedError(Refusal.FORGED, f"{entry.name} signed a frame in the name of {frame.source!r}")
        if self._peer_right not in entry.rights:
            raise FrameRefusedError(Refusal.FORGED, f"{entry.name} may not send frames as a {self._peer_right}")
        if frame.destination != self._name:
            raise FrameRefusedError(Refusal.MISADDRESSED, f"from {entry.name}, for {frame.destination!r}")
        return frame, entry

    def _admit(self, frame: Frame, entry: KeyEntry) -> None:
        window = self._replay.setdefault(entry.name, ReplayWindow())
        if not window.accept(frame.incarnation, frame.frame_sequence):
            raise FrameRefusedError(
                Refusal.REPLAYED, f"frame {frame.incarnation}.{frame.frame_sequence} of {entry.name} came again"
            )
