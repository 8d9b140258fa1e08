"""Tokens in files, one for each name, in a directory."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import SecretStr

from azquack.errors import TokenError
from azquack.tokens.source import INTERNAL_NAME, PUBLIC_NAME, TokenSource

_BYTES = 32


class FileTokens(TokenSource):
    """Files that somebody else puts there: an operator, or a platform that mounts secrets."""

    def __init__(
        self, directory: Path, public_name: str = PUBLIC_NAME, internal_name: str = INTERNAL_NAME
    ) -> None:
        super().__init__(public_name, internal_name)
        self._directory = directory

    def read(self, name: str) -> SecretStr:
        """The text of file `name` without blanks and line ends around it.

        Raises `TokenError` when it is not there, empty, not text, or may be read or written by others.
        """
        path = self._path(name)
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                content = file.read()
        except OSError as error:
            raise TokenError(f"the token file {path} cannot be read: {error.strerror}") from None
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            raise TokenError(f"everybody on this machine may use the token file {path}: run chmod 600 {path}")
        try:
            text = content.decode().strip()
        except UnicodeDecodeError:
            raise TokenError(f"the token file {path} is not text") from None
        if not text:
            raise TokenError(f"the token file {path} is empty: write the token into it or delete it")
        return SecretStr(text)

    def _path(self, name: str) -> Path:
        if not name or name != Path(name).name or name.startswith("."):
            raise TokenError(f"{name!r} is no name of a token file: give a plain file name")
        return self._directory / name


class GeneratedTokens(FileTokens):
    """Files that the first reader makes, mode 0600, and every later one finds."""

    def public(self) -> SecretStr:
        """The token of the users, made now if there is none."""
        self._make(self._public_name)
        return super().public()

    def internal(self) -> SecretStr:
        """The token between query and catalog, made now if there is none."""
        self._make(self._internal_name)
        return super().internal()

    def _make(self, name: str) -> None:
        path = self._path(name)
        if path.exists():
            return
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Written whole under another name (mode 0600, O_EXCL), then linked: of two starts at once one
            # link fails, and neither ever sees half a token.
            with NamedTemporaryFile(dir=self._directory, prefix=".") as file:
                file.write(secrets.token_urlsafe(_BYTES).encode())
                file.flush()
                os.fsync(file.fileno())
                os.link(file.name, path)
        except FileExistsError:
            if not path.exists():  # it was the directory's name that is taken, by a file
                raise TokenError(f"{self._directory} is no directory: set AZQUACK_TOKEN_DIR right") from None
        except OSError as error:
            raise TokenError(
                f"the token file {path} cannot be made ({error.strerror}): set AZQUACK_TOKEN_DIR to a "
                "directory that this user may write"
            ) from None
