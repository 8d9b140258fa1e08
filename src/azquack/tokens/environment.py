"""Tokens that stand in the settings: `AZQUACK_PUBLIC_TOKEN` and `AZQUACK_INTERNAL_TOKEN`."""

from __future__ import annotations

from pydantic import SecretStr

from azquack.errors import TokenError
from azquack.tokens.source import INTERNAL_NAME, PUBLIC_NAME, TokenSource


class EnvironmentTokens(TokenSource):
    """The two tokens, each None when it is not set."""

    def __init__(
        self,
        public: SecretStr | None,
        internal: SecretStr | None,
        public_name: str = PUBLIC_NAME,
        internal_name: str = INTERNAL_NAME,
    ) -> None:
        super().__init__(public_name, internal_name)
        self._values = {
            public_name: ("AZQUACK_PUBLIC_TOKEN", public),
            internal_name: ("AZQUACK_INTERNAL_TOKEN", internal),
        }

    def read(self, name: str) -> SecretStr:
        """One of the two; `TokenError` when it is not set or is none of them."""
        if name not in self._values:
            raise TokenError(
                f"the environment has no secret {name}: "
                "set AZQUACK_TOKEN_SOURCE to file or keyvault to read one"
            )
        variable, value = self._values[name]
        if value is None:
            raise TokenError(f"{variable} is not set: set it, or choose another AZQUACK_TOKEN_SOURCE")
        return value
