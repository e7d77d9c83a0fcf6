"""Schema migrations, shipped with the package and run when a store is opened.

A change to `keeper.store.schema` is a new module under `versions/`, named for its number, whose `down_revision` is the
one before, and a new `schema.REVISION`. Migrations only go up: an older program refuses a newer database.
"""
