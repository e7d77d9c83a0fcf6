"""The durable memory: chain facts by block, what was told, what was sent. SQLite by default, PostgreSQL alike.

`open_store` is the way in. `schema` and `migrations` say what is kept, `statements` how it is asked for, `transaction`
and `sql` what it means; `sqlite` and `postgres` are the only modules that know a database engine.
"""

from keeper.store.opening import open_store
from keeper.store.sql import SqlStore

__all__ = ["SqlStore", "open_store"]
