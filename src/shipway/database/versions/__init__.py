"""One file per change of the tables; Alembic runs those that a database has not seen."""
