"""The only opener of SQL: one engine, transactions that are all or nothing, migrations, lease and outbox.

    database = Database.open("sqlite:////home/ann/.local/share/shipway/shipway.db")
    database.migrate()
    with database.transaction() as tx:      # all of it or nothing of it
        ledger.append(tx, ...)
    with database.read() as tx:             # one consistent picture; writing is refused
        registry.SqlRegistry(tx).models("default")

Every room that keeps rows takes an open `tx` (an SQLAlchemy connection in a transaction), so that one
decision, its ledger entry, its route table and its messages are one transaction. `database.lease` says who
may run the clockwork; `database.outbox` holds what has to leave the database; `database.schema` is every table.
"""

from shipway.database import lease, outbox, schema
from shipway.database.engine import Database

__all__ = ["Database", "lease", "outbox", "schema"]
