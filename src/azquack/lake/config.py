"""How a query node opens the lake: what DuckLake needs to know, and through what it reaches the catalog."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from azquack.lake.link_options import LinkOptions
from azquack.lake.metadata import Metadata
from azquack.process.pipes import Message
from azquack.sql import Statement, literal, plain

NAME = "lake"


@dataclass(frozen=True)
class LakeConfig:
    """The lake as a node opens it.

    With a `link`, the node reaches its catalog through a catalog link that it starts itself, and `token` is
    the internal token for the far end; then `metadata` only shows what the node will say to its own link.
    `storage` makes a DuckDB able to use the data path; a node that `marks` writes the lake's id into it.
    """

    metadata: Metadata
    data_path: str
    encrypted: bool = False
    link: LinkOptions | None = None
    token: str = field(default="", repr=False)
    storage: tuple[Statement, ...] = ()
    marks: bool = False

    def secrets(self, metadata: Metadata | None = None) -> tuple[Statement, ...]:
        """The persistent secrets that must be there at the open: an initial database has no ATTACH options.

        `metadata` stands in for its own once the link is up.
        """
        metadata = metadata or self.metadata
        parts = [
            "TYPE ducklake",
            f"METADATA_PATH {literal(metadata.path)}",
            f"DATA_PATH {literal(self.data_path)}",
        ]
        if metadata.parameters:
            pairs = ", ".join(f"{literal(key)}: {literal(val)}" for key, val in metadata.parameters.items())
            parts.append(f"METADATA_PARAMETERS MAP {{{pairs}}}")
        if self.encrypted:
            parts.append("ENCRYPTED true")
        lake = plain(f"CREATE OR REPLACE PERSISTENT SECRET {NAME} ({', '.join(parts)})")
        return (*metadata.secrets, lake)

    def to_message(self) -> Message:
        """It as JSON-shaped data, secrets in clear."""
        return asdict(self)

    @staticmethod
    def from_message(message: Message) -> LakeConfig:
        """The configuration that `to_message` made."""
        metadata = message["metadata"]
        secrets, storage = (
            tuple(Statement(s["text"], s["masked"], tuple(s["secrets"])) for s in each)
            for each in (metadata["secrets"], message["storage"])
        )
        return LakeConfig(
            metadata=Metadata(
                metadata["path"], tuple(metadata["extensions"]), secrets, metadata["parameters"]
            ),
            data_path=message["data_path"],
            encrypted=message["encrypted"],
            link=LinkOptions(**message["link"]) if message["link"] else None,
            token=message["token"],
            storage=storage,
            marks=message["marks"],
        )
