"""TLS towards the broker: whom to believe, what to show, and what went wrong in words."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final

from skyrack.errors import UserError

__all__ = ["TlsFiles", "in_words"]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. Without ``ca`` those are believed whom this machine believes; certificate and key go together."""

    ca: str = ""
    certificate: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext:
        """What a connection uses; the broker's name is checked.

        Raises:
            UserError: a file cannot be used; the message says which and why.
        """
        if bool(self.certificate) != bool(self.key):
            raise UserError("TLS: certificate and key go together; only one of them is given")
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except (OSError, ssl.SSLError) as error:
            raise UserError(f"{self.ca}: not a certificate of an authority in PEM form ({_reason(error)})") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except (OSError, ssl.SSLError) as error:
                raise UserError(
                    f"{self.certificate} and {self.key}: not a certificate and its key in PEM form ({_reason(error)})"
                ) from None
        return context


_ADVICE: Final = (
    (
        ("CERTIFICATE_VERIFY_FAILED",),
        "the broker's certificate is not believed ({reason}): name its authority with the right ca file",
    ),
    (
        ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_REQUIRED", "CERTIFICATE_UNKNOWN", "HANDSHAKE_FAILURE"),
        "the broker does not believe our certificate ({reason}): it must be signed by the broker's authority",
    ),
    (("CERTIFICATE_EXPIRED",), "the broker says that our certificate is over: make a new one"),
    (("CERTIFICATE_REVOKED",), "the broker says that our certificate is revoked"),
    (
        ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF", "UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION"),
        "what answers there does not speak TLS as we do ({reason}): is it the broker's mqtts port?",
    ),
)


def in_words(error: BaseException) -> str:
    """What an error of a connection means, where TLS is its cause; empty where it is not."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            text = f"{cause.reason or ''} {cause}".upper().replace(" ", "_")
            for signs, sentence in _ADVICE:
                if any(sign in text for sign in signs):
                    return sentence.format(reason=_reason(cause))
            return f"TLS failed ({_reason(cause)})"
        cause = cause.__cause__ or cause.__context__
    return ""


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)
