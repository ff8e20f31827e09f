"""Where a study is kept, and the lock that its workers take turns by.

SQLite does not honour the row locks by which Optuna claims a trial in a database server, so two
workers could both begin the same one. Here every change of a trial's state is made under one
lock for the whole study, the same way for each kind of storage. A lock ends with the process or
the connection that holds it.
"""

import contextlib
import fcntl
import hashlib
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, OperationalError

#: How long SQLite waits for another process' transaction.
SQLITE_TIMEOUT_S = 120
#: How often the tables are made again if another process makes them at the same time.
_OPENINGS = 5
_JOURNAL = "journal:"

Lock = Callable[[], AbstractContextManager[None]]


class Opened(NamedTuple):
    """A storage, and the lock of one study in it."""

    storage: optuna.storages.BaseStorage
    lock: Lock


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file; wait for it. The kernel releases it if the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _JournalLock(JournalFileOpenLock):
    """What Optuna holds while it writes a journal; its own locks outlive a killed process."""

    def __init__(self, path: Path):
        super().__init__(str(path))
        self._path = path.with_name(f"{path.name}.writing")
        self._held: list[AbstractContextManager[None]] = []

    def acquire(self) -> bool:
        """Wait for the lock."""
        held = file_lock(self._path)
        held.__enter__()
        self._held.append(held)
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._held.pop().__exit__(None, None, None)


def open_storage(url: str, study: str) -> Opened:
    """Open a storage, making its files or tables if they are not there.

    Args:
      url: ``sqlite:///FILE``, ``journal:FILE``, or a URL of SQLAlchemy for PostgreSQL or MySQL.
      study: name of the study whose lock is wanted.

    Raises:
      ValueError: for another kind of storage, a driver that is not installed, or a server that
        does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    if url.startswith(_JOURNAL):
        path = Path(url.removeprefix(_JOURNAL))
        lock = _beside(path)
        with lock():
            backend = JournalFileBackend(str(path), _JournalLock(path))
            return Opened(optuna.storages.JournalStorage(backend), lock)
    try:
        address = sqlalchemy.make_url(url)
    except ArgumentError:
        address = None
    kind = address.get_backend_name() if address else None
    if address is None or kind not in ("sqlite", "postgresql", "mysql"):
        raise ValueError(
            f"--storage must be sqlite:///FILE, journal:FILE, postgresql://... or mysql://..., "
            f"got {url.partition('://')[0]}"
        )
    if kind == "sqlite":
        if not address.database:
            raise ValueError("--storage must name a file, sqlite:///FILE, got sqlite://")
        lock = _beside(Path(address.database))
        with lock():
            storage = _open_database(url, {"connect_args": {"timeout": SQLITE_TIMEOUT_S}})
        return Opened(storage, lock)
    storage = _open_database(url, {"pool_pre_ping": True})
    return Opened(storage, lambda: _server_lock(storage.engine, study))


def _beside(path: Path) -> Lock:
    return lambda: file_lock(path.with_name(f"{path.name}.lock"))


def _open_database(url: str, options: dict) -> optuna.storages.RDBStorage:
    shown = sqlalchemy.make_url(url).render_as_string(hide_password=True)
    for opening in range(_OPENINGS):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=options)
        except (ImportError, NoSuchModuleError) as error:
            raise ValueError(
                f"--storage {shown}: the driver is not installed ({error}); with the extra "
                "servers there are postgresql+psycopg:// and mysql+pymysql://"
            ) from error
        except (OperationalError, IntegrityError) as error:
            # Two processes may make the tables at the same time.
            if opening + 1 == _OPENINGS:
                raise ValueError(f"--storage {shown} cannot be opened: {error.orig}") from error
            time.sleep(0.2 * 2**opening)
    raise AssertionError("unreachable")


def _number(study: str) -> int:
    """Return 63 bits of a name."""
    return int.from_bytes(hashlib.sha256(study.encode()).digest()[:8], "big") >> 1


@contextlib.contextmanager
def _server_lock(engine: sqlalchemy.Engine, study: str) -> Iterator[None]:
    """Hold a lock of the server; it ends with the connection."""
    take, release, name = {
        "postgresql": ("pg_advisory_lock(:name)", "pg_advisory_unlock(:name)", _number(study)),
        # MySQL names a lock in at most 64 characters.
        "mysql": ("GET_LOCK(:name, 1000000)", "RELEASE_LOCK(:name)", f"akida-jax-{_number(study)}"),
    }[engine.dialect.name]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        held = connection.execute(sqlalchemy.text(f"SELECT {take}"), {"name": name}).scalar()
        if engine.dialect.name == "mysql" and held != 1:
            raise OSError(f"the database server gives no lock on the study {study!r} ({held})")
        try:
            yield
        finally:
            connection.execute(sqlalchemy.text(f"SELECT {release}"), {"name": name})
