"""Name, version, alias and find bundles; an alias moves by compare-and-set.

    with database.transaction() as tx:
        registry = SqlRegistry(tx)
        n = registry.add_version("default", manifest, digest, by="ann", now=now)
        seen = registry.alias("default", "churn", "champion")
        registry.move_alias("default", "churn", "champion", n,
                            seen=seen.revision if seen else 0, by="ann", why="gate passed", now=now)

A version is a number under a model name that stands for the digest of a bundle, for good. An alias points
to a version and moves; every move has a revision, and whoever moves says which revision they last saw, so
that of two people who decide at once one is told. Evidence hangs on the digest, not on the name. Every
write appends its ledger entry in the same transaction.

Not here: the bytes of bundles (`shipway.bundle`), and whether a version may ship (`shipway.gate`).
"""

from shipway.registry._sql import SqlRegistry
from shipway.registry.rows import AliasMove, AliasRow, EvidenceRow, ModelRow, VersionRow

__all__ = ["AliasMove", "AliasRow", "EvidenceRow", "ModelRow", "SqlRegistry", "VersionRow"]
