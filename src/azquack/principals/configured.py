"""The principals that the settings describe."""

from __future__ import annotations

from azquack.config.settings import Settings
from azquack.errors import SettingError
from azquack.principals.principal import Role
from azquack.principals.sources import FileSource, Principals, PublicToken, Source, TextSource
from azquack.tokens.source import TokenSource


def principals_for(settings: Settings, tokens: TokenSource) -> Principals:
    """Everybody whom the gateway lets in. Raises `SettingError`, `TokenError`."""
    sources: list[Source] = [PublicToken(tokens.public().get_secret_value(), Role(settings.public_role))]
    if settings.principals_file is not None:
        sources.append(FileSource(settings.principals_file))
    if (given := settings.principals) is not None:
        sources.append(TextSource(given.get_secret_value))
    if (name := settings.principals_secret_name) is not None:
        sources.append(TextSource(lambda: tokens.read(name).get_secret_value()))
    if settings.jwt_issuer is not None:
        sources.append(_jwt(settings, settings.jwt_issuer))
    return Principals(sources)


def _jwt(settings: Settings, issuer: str) -> Source:
    # A slow import, which those who take no JWT need not wait for.
    from azquack.principals.jwt import JwtSource

    try:
        roles = {value: Role(role) for value, role in settings.jwt_roles.items()}
    except ValueError as error:
        raise SettingError(f"AZQUACK_JWT_ROLES: {error}; use reader, writer or admin") from None
    return JwtSource(
        issuer=issuer,
        audience=settings.jwt_audience or "",
        roles=roles,
        jwks_url=settings.jwt_jwks_url,
        key=settings.jwt_key.get_secret_value() if settings.jwt_key else None,
        role_claim=settings.jwt_role_claim,
        name_claim=settings.jwt_name_claim,
    )
