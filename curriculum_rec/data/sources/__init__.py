"""Sources (host): each reads a kind of file or database into a frame of user, item, perhaps timestamp and others."""

from curriculum_rec.data.catalogue.embedded import OnlineRetail
from curriculum_rec.data.sources.columns import InteractionColumns
from curriculum_rec.data.sources.contract import Source, Table, TableReader
from curriculum_rec.data.sources.databases import PostgresQuery, PostgresTable, SqliteQuery, SqliteTable
from curriculum_rec.data.sources.entities import EntityTable
from curriculum_rec.data.sources.logs import LogFile, LogTable
from curriculum_rec.data.sources.sequences import SequencesFile
from curriculum_rec.data.sources.tables import FileTable, TableFile

__all__ = [
    "EntityTable",
    "FileTable",
    "InteractionColumns",
    "LogFile",
    "LogTable",
    "OnlineRetail",
    "PostgresQuery",
    "PostgresTable",
    "SequencesFile",
    "Source",
    "SqliteQuery",
    "SqliteTable",
    "Table",
    "TableFile",
    "TableReader",
]
