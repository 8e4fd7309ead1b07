"""Canonical JSON bytes (RFC 8785) and their digests; nothing else in the package hashes an object.

Callers may rely on: equal values give equal bytes on every machine and Python version; NaN, infinity, and integers
of 2**53 and more are refused with `UsageError`, since no two JSON readers agree on them.
"""

from __future__ import annotations

import hashlib

import rfc8785

from bakeoff.errors import UsageError


def encode(value: object) -> bytes:
    """Return the RFC 8785 bytes of *value*. Raises UsageError where JSON can't carry it."""
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # the library checks the value itself
    except rfc8785.CanonicalizationError as error:
        raise UsageError(f"not canonical JSON: {error}") from error


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of *data* as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical bytes of *value*, 64 hex digits."""
    return sha256_hex(encode(value))
