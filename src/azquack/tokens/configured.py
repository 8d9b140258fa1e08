"""The source of tokens that the settings name."""

from __future__ import annotations

from azquack.config.settings import Settings, TokenSourceKind, required
from azquack.errors import SettingError
from azquack.tokens.environment import EnvironmentTokens
from azquack.tokens.files import FileTokens, GeneratedTokens
from azquack.tokens.source import TokenSource


def token_source_for(settings: Settings) -> TokenSource:
    """The source that `settings` describe; nothing is read yet. Raises `SettingError`."""
    names = (settings.public_token_name, settings.internal_token_name)
    if names[0] == names[1]:
        raise SettingError(
            f"AZQUACK_PUBLIC_TOKEN_NAME and AZQUACK_INTERNAL_TOKEN_NAME are both {names[0]!r}: "
            "give them two names"
        )
    match settings.token_source:
        case TokenSourceKind.ENVIRONMENT:
            return EnvironmentTokens(settings.public_token, settings.internal_token, *names)
        case TokenSourceKind.FILE:
            return FileTokens(required(settings, "token_dir", "say where the token files are"), *names)
        case TokenSourceKind.GENERATED:
            return GeneratedTokens(required(settings, "token_dir", "say where to keep the tokens"), *names)
        case TokenSourceKind.KEYVAULT:
            url = required(settings, "key_vault_url", "name the vault, https://NAME.vault.azure.net")
            # The Azure SDK takes most of a second to import, which only those who use it should pay.
            from azquack.tokens.keyvault import KeyVaultTokens

            return KeyVaultTokens(url, *names, client_id=settings.azure_client_id)
