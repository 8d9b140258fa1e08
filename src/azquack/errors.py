"""Everything that AzQuack raises on purpose.

AzQuackError
├── SettingError       a setting, flag or URI is missing or wrong
├── TokenError         a token source cannot give its token
├── StartError         a process of a replica could not begin to serve
├── LakeError          the lake's directory, catalog or data path cannot be used
├── UpstreamError      a Quack server cannot be reached, or broke off before its answer was complete
├── CatalogAwayError   the catalog did not come back in time; the statement was not run
├── OutcomeError       a write was cut off, and whether it was applied cannot be told
├── StatementError     a Quack server answered with an error of its own
├── LeaseError         the place of the catalog's lease cannot be used
│   └── LeaseLostError the lease is another's, or may be
├── BackupError        a backup cannot be taken, found, read or restored
└── WireError          bytes that are not a Quack 1 message

Refusal                a gateway refuses a request; ClientGone: whoever sent it has left

Each carries one sentence that says what is wrong and what to do. The command line prints that
sentence and exits with 1 (`SettingError`: 2); nothing of it ever holds a secret.
"""

import re

# How storage that lets an identity in, but not do this, says so: by its status or by its code.
# https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
_FORBIDDEN = re.compile(
    r"\b403\b|AuthorizationPermissionMismatch|AuthorizationFailure|not authorized to perform"
)


def lacks_role(sentence: str) -> bool:
    """Whether what storage said means that a role is missing, or does not count yet."""
    return _FORBIDDEN.search(sentence) is not None


class AzQuackError(Exception):
    """Base of all: `str(error)` is the sentence for the user.

    `may_pass` says that the same may succeed in some minutes: a new role in Azure takes that long to count.
    https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
    """

    exit_code = 1

    def __init__(self, *sentence: str, may_pass: bool = False) -> None:
        super().__init__(*sentence)
        self.may_pass = may_pass


class SettingError(AzQuackError):
    """A setting, flag or URI is missing or wrong."""

    exit_code = 2


class TokenError(AzQuackError):
    """A token source cannot give its token."""


class StartError(AzQuackError):
    """A process of a replica could not begin to serve."""


class LakeError(AzQuackError):
    """The lake's directory, catalog or data path cannot be used."""


class UpstreamError(AzQuackError):
    """A Quack server cannot be reached, or broke off before its answer was complete.

    `sent` says whether the request may have reached the server; it is then not repeated.
    """

    def __init__(self, sentence: str, *, sent: bool) -> None:
        super().__init__(sentence)
        self.sent = sent


class NoAnswerError(UpstreamError):
    """A Quack server that was reached gave no answer in time; it may still be at work on the request."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, sent=True)


class CatalogAwayError(AzQuackError):
    """The catalog could not be asked in time, or gave no answer; the statement changed nothing."""


class OutcomeError(AzQuackError):
    """A write was cut off, and whether it was applied cannot be told."""


class StatementError(AzQuackError):
    """A Quack server answered with an error of its own; the sentence is the server's."""


class LeaseError(AzQuackError):
    """The place of the catalog's lease cannot be used."""


class LeaseLostError(LeaseError):
    """The lease is another's, or may be: whoever held it must not serve."""


class BackupError(AzQuackError):
    """A backup cannot be taken, found, read or restored."""


class WireError(AzQuackError):
    """Bytes that are not a Quack 1 message."""


class Refusal(Exception):
    """A server refuses. `reason` is a word for the metrics, the sentence is for the user.

    `status` is 200 where a client shall read the sentence, else an HTTP status; the socket then closes.
    `audited` is set once it stands in the audit log.
    """

    def __init__(self, reason: str, sentence: str, status: int = 200) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.status = status
        self.audited = False


class ClientGone(Exception):
    """The client closed its socket before its request was complete, or does not read its answer."""
