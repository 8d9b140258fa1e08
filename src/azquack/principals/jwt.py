"""Principals from JSON Web Tokens of an issuer, such as Entra ID."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt as pyjwt
from jwt import PyJWKClient, PyJWKSet
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuedAtError,
    InvalidIssuerError,
    MissingRequiredClaimError,
    PyJWKClientError,
    PyJWTError,
)

from azquack.errors import SettingError
from azquack.principals.principal import NAME, Principal, Role
from azquack.principals.principal_list import hashed

_LONGEST = 16_384
_MARK = ":"


class Keys(PyJWKClient):
    """The public keys of an issuer: kept for `lifespan` seconds, fetched anew for an unknown key.

    A token with a made-up key id must not make us fetch at will, so there are `pause` seconds between two
    fetches; and keys that were known stay in force while the issuer cannot be reached. Of logins at once on
    several threads one fetches; the others wait only where no keys are known yet.
    """

    def __init__(self, url: str, lifespan: float = 3600, pause: float = 30, timeout: float = 5) -> None:
        super().__init__(url, cache_jwk_set=False, timeout=timeout)
        self._keep, self._pause = lifespan, pause
        self._set: PyJWKSet | None = None
        self._tried = float("-inf")
        self._lock = threading.Lock()

    def get_jwk_set(self, refresh: bool = False) -> PyJWKSet:
        known = self._set
        if known is not None and time.monotonic() - self._tried < (self._pause if refresh else self._keep):
            return known
        if not self._lock.acquire(blocking=known is None):
            assert known is not None
            return known
        try:
            return self._fetched(refresh)
        finally:
            self._lock.release()

    def _fetched(self, refresh: bool) -> PyJWKSet:
        age = time.monotonic() - self._tried
        if self._set is None or age >= (self._pause if refresh else self._keep):
            if age < self._pause:
                raise PyJWKClientError("the issuer could not be reached a moment ago")
            self._tried = time.monotonic()
            try:
                self._set = super().get_jwk_set(refresh=True)
            except PyJWKClientError:
                if self._set is None:
                    raise
        return self._set

    def __call__(self, token: str) -> Any:
        return self.get_signing_key_from_jwt(token).key


class JwtSource:
    """Tokens of `issuer` for `audience`, with exactly one algorithm.

    The role is the strongest that `roles` maps a value of the claim `role_claim` to (a string or a list of
    them; dots reach into objects); a token without one is refused. The name is the claim `name_claim`. A
    session ends when its token does. Raises `SettingError` for what could never work.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        roles: Mapping[str, Role],
        jwks_url: str | None = None,
        key: str | None = None,
        role_claim: str = "roles",
        name_claim: str = "sub",
        clock: Callable[[], float] = time.time,
    ) -> None:
        if (jwks_url is None) == (key is None):
            raise SettingError("JWTs need either the URL of a JWKS (RS256) or a key (HS256)")
        if key is not None and len(key.encode()) < 32:
            raise SettingError("the key of the JWTs is too short: HS256 needs at least 32 bytes")
        if not issuer or not audience or not roles:
            raise SettingError("JWTs need an issuer, an audience and a mapping of roles")
        # One algorithm per source: the token's own header never decides how it is checked.
        self._algorithm = "RS256" if jwks_url else "HS256"
        self._key: Callable[[str], Any] = Keys(jwks_url) if jwks_url else lambda _: key
        self._issuer, self._audience = issuer, audience
        self._roles, self._role_claim, self._name_claim = dict(roles), role_claim, name_claim
        self._clock = clock

    def authenticate(self, token: str) -> Principal | None:
        try:
            claims = self._claims(token)
        except (PyJWTError, ValueError):
            return None
        role, name = self._role(claims), claims.get(self._name_claim)
        if role is None or not isinstance(name, str) or not NAME.fullmatch(name):
            return None
        expires = int(claims["exp"])
        mark = _MARK.join(("jwt", role, str(expires), hashed(token)[:16]))
        return Principal(name, role, mark, expires=expires)

    def reason(self, token: str) -> str:
        """What is wrong with a token that bears the signature of the issuer: others are not told what would do."""
        try:
            claims = self._claims(token)
        except ExpiredSignatureError:
            return "this token has expired: get a new one"
        except (ImmatureSignatureError, InvalidIssuedAtError):
            return "this token is not valid yet: compare the clocks"
        except InvalidAudienceError:
            return "this token is for another audience (aud): ask its issuer for one for this lake"
        except InvalidIssuerError:
            return "this token is of another issuer (iss)"
        except MissingRequiredClaimError as error:
            return f"this token has no claim {error.claim}"
        except (PyJWTError, ValueError):
            return ""
        if self._role(claims) is None:
            return f"this token has no role here: nothing in its claim {self._role_claim} is one"
        return f"this token names nobody: its claim {self._name_claim} is missing, or no name"

    def _claims(self, token: str) -> dict[str, Any]:
        """What a valid `token` says; its signature is checked first. Raises `PyJWTError`, `ValueError`."""
        if token.count(".") != 2 or len(token) > _LONGEST:
            raise ValueError("no JWT, or far too long for one")
        claims: dict[str, Any] = pyjwt.decode(
            token,
            self._key(token),
            algorithms=[self._algorithm],
            issuer=self._issuer,
            audience=self._audience,
            options={"require": ["exp", "iss", "aud"]},
        )
        return claims

    def current(self, name: str, fingerprint: str) -> Principal | None:
        # Nobody revokes a JWT: what it said stands in the fingerprint, which the gateway has sealed, so that a
        # gateway that never saw the token knows its principal as well.
        kind, *rest = fingerprint.split(_MARK)
        if kind != "jwt" or len(rest) != 3:
            return None
        found = Principal(name, Role(rest[0]), fingerprint, expires=float(rest[1]))
        return found if float(rest[1]) > self._clock() else None

    def restricted(self) -> bool:
        return False

    def named(self, name: str) -> Principal | None:
        """Nobody: a token says what its bearer may do, and nobody takes that back."""

    def refresh(self) -> None:
        """Nothing: keys are fetched when a token needs them."""

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        value: Any = claims
        for part in self._role_claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        held = {self._roles[each] for each in values if isinstance(each, str) and each in self._roles}
        return max(held, key=list(Role).index, default=None)
