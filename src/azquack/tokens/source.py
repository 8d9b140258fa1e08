"""What every source of tokens can do."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pydantic import SecretStr

from azquack.errors import TokenError

PUBLIC_NAME = "public-token"
INTERNAL_NAME = "internal-token"
# Short ones can be tried out over the network. DuckDB itself accepts 4 characters.
_LEAST = 16


class TokenSource(ABC):
    """A place that holds secrets under names, two of which are the tokens of the pair."""

    def __init__(self, public_name: str = PUBLIC_NAME, internal_name: str = INTERNAL_NAME) -> None:
        self._public_name = public_name
        self._internal_name = internal_name

    def public(self) -> SecretStr:
        """The token of the users. Raises `TokenError`."""
        return self._token(self._public_name)

    def internal(self) -> SecretStr:
        """The token between query and catalog. Raises `TokenError`."""
        return self._token(self._internal_name)

    @abstractmethod
    def read(self, name: str) -> SecretStr:
        """The secret called `name`, read anew at each call. Raises `TokenError`."""

    def _token(self, name: str) -> SecretStr:
        token = self.read(name)
        value = token.get_secret_value()
        if len(value) < _LEAST or not value.isascii() or not value.isprintable() or " " in value:
            raise TokenError(
                f"the token {name} cannot be used: a token is {_LEAST} or more ASCII characters without blanks"
            )
        return token
