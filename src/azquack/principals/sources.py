"""Where principals come from, behind one small interface."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from azquack.errors import SettingError, TokenError
from azquack.principals import principal_list
from azquack.principals.principal import Principal, Role

log = logging.getLogger(__name__)

# A single token is given to us, so we cannot know how random it is: short ones can be guessed.
SHORTEST = 16


class Source(Protocol):
    """One place that knows principals. Unknown, revoked and malformed tokens are all None, never an error."""

    def authenticate(self, token: str) -> Principal | None:
        """Who shows `token`. May take a network round trip (`JwtSource`): not for an event loop."""

    def reason(self, token: str) -> str:
        """Why `token` lets nobody in, as its bearer may know; '' where the token is not known to be anybody's."""

    def current(self, name: str, fingerprint: str) -> Principal | None:
        """The principal as it is now, or None once its credential is revoked, rotated or expired.

        Quick: asked for each request of a session.
        """

    def restricted(self) -> bool:
        """Whether anybody in it has grants."""

    def named(self, name: str) -> Principal | None:
        """The principal of that name, where it is a list, in which rights are given and taken by name."""

    def refresh(self) -> None:
        """Reads anew what may have changed; may block. Raises `TokenError` and keeps what it knew."""


class Principals:
    """Several sources as one: the first that knows a token wins."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    def authenticate(self, token: str) -> Principal | None:
        return next((found for source in self._sources if (found := source.authenticate(token))), None)

    def reason(self, token: str) -> str:
        """Why `token` lets nobody in, as its bearer may know; or ''."""
        return next((found for source in self._sources if (found := source.reason(token))), "")

    def current(self, name: str, fingerprint: str) -> Principal | None:
        return next((found for source in self._sources if (found := source.current(name, fingerprint))), None)

    def restricted(self) -> bool:
        """Whether anybody has grants."""
        return any(source.restricted() for source in self._sources)

    def named(self, name: str) -> list[Principal]:
        """Those who are called `name`, of each list one at most."""
        return [found for source in self._sources if (found := source.named(name))]

    def refresh(self) -> None:
        """Refreshes every source; an error in one is logged and does not keep the others back."""
        for source in self._sources:
            try:
                source.refresh()
            except TokenError as error:
                log.warning("principals not refreshed: %s", error)


class PublicToken:
    """One token for everybody, without names. Raises `SettingError` for a token that can be guessed."""

    def __init__(self, token: str, role: Role = Role.WRITER, name: str = "public") -> None:
        if len(token) < SHORTEST:
            raise SettingError(f"the public token is too short: it needs at least {SHORTEST} characters")
        self._hash = principal_list.hashed(token)
        self._principal = Principal(name, role, principal_list.fingerprint(self._hash))

    def authenticate(self, token: str) -> Principal | None:
        return self._principal if hmac.compare_digest(principal_list.hashed(token), self._hash) else None

    def reason(self, token: str) -> str:
        """Nothing: who has no token of these is a stranger."""
        return ""

    def current(self, name: str, fingerprint: str) -> Principal | None:
        mine = self._principal
        return mine if (name, fingerprint) == (mine.name, mine.fingerprint) else None

    def restricted(self) -> bool:
        return False

    def named(self, name: str) -> Principal | None:
        """Nobody: it says who may come in, and no more of them."""

    def refresh(self) -> None:
        """Nothing: the token is fixed for the life of the process."""


class TextSource:
    """A list whose JSON text `read` gives: an environment variable, a Key Vault secret.

    Reads at once, raising what `read` raises and `TokenError`; later only at `refresh`.
    """

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._by_hash: dict[str, Principal] = {}
        self._by_name: dict[str, Principal] = {}
        self._restricted = False
        self.refresh()

    def authenticate(self, token: str) -> Principal | None:
        return self._by_hash.get(principal_list.hashed(token))

    def reason(self, token: str) -> str:
        """Nothing: who has no token of these is a stranger."""
        return ""

    def current(self, name: str, fingerprint: str) -> Principal | None:
        found = self._by_name.get(name)
        return found if found and hmac.compare_digest(found.fingerprint, fingerprint) else None

    def restricted(self) -> bool:
        return self._restricted

    def named(self, name: str) -> Principal | None:
        return self._by_name.get(name)

    def refresh(self) -> None:
        self._take(principal_list.PrincipalList.parse(self._read()))

    def _take(self, known: principal_list.PrincipalList) -> None:
        self._by_hash = {record.token_sha256: record.principal() for record in known.records}
        self._by_name = {record.name: record.principal() for record in known.records}
        self._restricted = any(record.grants is not None for record in known.records)


class FileSource(TextSource):
    """A list in a file, read anew as soon as it changes; no file is an empty list.

    A change that cannot be read is logged once, and what was known before stays in force.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: object = None
        super().__init__(lambda: "")

    def authenticate(self, token: str) -> Principal | None:
        self._refresh_if_changed()
        return super().authenticate(token)

    def current(self, name: str, fingerprint: str) -> Principal | None:
        self._refresh_if_changed()
        return super().current(name, fingerprint)

    def restricted(self) -> bool:
        self._refresh_if_changed()
        return super().restricted()

    def named(self, name: str) -> Principal | None:
        self._refresh_if_changed()
        return super().named(name)

    def refresh(self) -> None:
        # Noted last: another thread must not take what it knows for what is in the file.
        state = self._state()
        try:
            self._take(principal_list.read(self._path))
        finally:
            self._seen = state

    def _refresh_if_changed(self) -> None:
        if self._state() == self._seen:
            return
        try:
            self.refresh()
        except TokenError as error:
            log.warning("the old principals stay in force: %s", error)

    def _state(self) -> object:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
