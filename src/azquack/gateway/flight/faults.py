"""Refusals and errors of DuckDB as the errors of gRPC, each with one sentence."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa
from pyarrow import flight

from azquack.errors import ClientGone, Refusal
from azquack.quack.faults import clear

log = logging.getLogger(__name__)


def _bare(kind: type[Exception]) -> type[Exception]:
    """`kind` without its stack, which pyarrow would send to the client with every error that is none of Flight's own.

    It asks `traceback` for it, and where that fails, sends the name alone.
    """

    def unknown(error: Exception) -> None:
        raise AttributeError

    return type(kind.__name__, (kind,), {"__cause__": property(unknown)})


_INVALID, _MISSING, _UNSUPPORTED = map(
    _bare, (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError)
)
# The code of gRPC for the reason of a refusal; INVALID_ARGUMENT for all others.
_ERRORS: dict[str, type[Exception]] = {
    **dict.fromkeys(("token", "expired", "revoked"), flight.FlightUnauthenticatedError),
    **dict.fromkeys(("policy", "views"), flight.FlightUnauthorizedError),
    **dict.fromkeys(("busy", "rate", "sessions", "login_rate", "node"), flight.FlightUnavailableError),
    **dict.fromkeys(("unsupported", "savepoint"), _UNSUPPORTED),
    "ticket": flight.FlightUnauthorizedError,
    "handle": _MISSING,
    "timeout": flight.FlightTimedOutError,
    "cancelled": flight.FlightCancelledError,
}


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong within becomes an error of gRPC; a fault of ours is logged, and told as no more than one."""
    try:
        yield
    except Refusal as refusal:
        raise _ERRORS.get(refusal.reason, _INVALID)(str(refusal)) from None
    except ClientGone:
        raise flight.FlightCancelledError("the client has left") from None
    except duckdb.Error as error:
        raise _INVALID(clear(str(error))) from None
    except flight.FlightError:
        raise
    except pa.ArrowException as error:
        # A stream that the client sends wrongly, or not to its end.
        raise _INVALID(clear(str(error)).partition(". Detail:")[0]) from None
    except Exception:
        log.exception("a call failed in the Flight server")
        raise flight.FlightInternalError("The server failed on this call; its log says why") from None
