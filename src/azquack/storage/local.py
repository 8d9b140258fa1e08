"""A directory on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from azquack.config.settings import Settings
from azquack.errors import LakeError
from azquack.lake.lake_id import MARK
from azquack.sql import Statement, literal, plain


@dataclass(frozen=True, slots=True)
class LocalStorage:
    """The Parquet files lie in `directory`."""

    directory: Path
    read_only: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> LocalStorage:
        """The directory that `data_path` names, made absolute."""
        assert settings.data_path is not None
        return cls(Path(settings.data_path).expanduser().absolute(), settings.read_only)

    @property
    def data_path(self) -> str:
        """The directory, with a slash at its end."""
        return f"{self.directory}/"

    @property
    def extensions(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def probe(self) -> Statement:
        """Runner for the mark of the lake; a read-only lake may have none, and is only listed.

        A glob cannot tell an empty directory from one that is gone (an unmounted share): a file can.
        """
        listing = f"glob({literal(self.data_path + MARK)})"
        if self.read_only:
            return plain(f"SELECT count(*) FROM {listing}")
        sentence = literal(f"the data path {self.directory} is gone")
        return plain(f"SELECT CASE WHEN count(*) = 0 THEN error({sentence}) END FROM {listing}")

    def prepare(self) -> None:
        """Make the directory; a node marks it. Raises `LakeError` when it is not there or cannot be written."""
        if self.read_only:
            if not self.directory.is_dir():
                raise LakeError(
                    f"the data path {self.directory} is no directory: set AZQUACK_DATA_PATH right"
                )
            return
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            # Made and gone again: shows that this user may write, which permission bits alone do not.
            with TemporaryFile(dir=self.directory):
                pass
        except OSError as error:
            raise LakeError(
                f"the data path {self.directory} cannot be written ({error.strerror}): "
                "give this user the right to, or set AZQUACK_DATA_PATH to another directory"
            ) from None

    def statements(self) -> list[Statement]:
        """DuckDB keeps no copy of these files beside the operating system's own.

        DuckLake has that copy never compared with the file, whatever `validate_external_file_cache` says
        (`ducklake_multi_file_list.cpp`): a file that was damaged when it was first read, and then brought back, would
        stay broken until the node restarts.
        """
        return [plain("SET GLOBAL enable_external_file_cache = false")]
