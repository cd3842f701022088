"""Let exactly one process do a job, and make sure that a paused one which wakes up late cannot write.

A lease has a holder, an end and a fence: a number that grows whenever the lease is taken anew. Whoever does
the job passes its fence to `require` in every transaction it writes. A holder that slept through its end
finds a higher fence there, and its transaction fails as a whole.
"""

from sqlalchemy import Connection, case, select, update
from sqlalchemy.dialects.sqlite import insert

from shipway.database.schema import lease
from shipway.errors import Conflict

TTL_S = 15.0
"""Length of a lease; renew it every third of that."""


def acquire(tx: Connection, name: str, holder: str, now: float, ttl_s: float = TTL_S) -> int | None:
    """Take or renew the lease `name` until `now + ttl_s`.

    Args:
        tx: an open transaction.
        name: of the job.
        holder: who asks; different for every process that ever starts.
        now: Unix seconds.
        ttl_s: seconds until others may take it.

    Returns:
        The fence: the same while a holder renews in time, higher each time it changes hands or ran out;
        None while another holds it.
    """
    ours = (lease.c.holder == holder) & (lease.c.expires_at > now)
    fresh = insert(lease).values(name=name, holder=holder, fence=1, expires_at=now + ttl_s)
    taken = fresh.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "holder": holder,
            "fence": case((ours, lease.c.fence), else_=lease.c.fence + 1),
            "expires_at": now + ttl_s,
        },
        where=ours | (lease.c.expires_at <= now),
    ).returning(lease.c.fence)
    fence: int | None = tx.execute(taken).scalar()
    return fence


def release(tx: Connection, name: str, holder: str, fence: int) -> None:
    """Give the lease up, if it still is this one, so that the next holder need not wait."""
    ours = (lease.c.name == name) & (lease.c.holder == holder) & (lease.c.fence == fence)
    tx.execute(update(lease).where(ours).values(expires_at=0.0))


def require(tx: Connection, name: str, fence: int, now: float) -> None:
    """Fail the transaction unless the lease `name` is still held under `fence`.

    Raises:
        Conflict: it ran out, or another has taken it.
    """
    row = tx.execute(select(lease.c.holder, lease.c.fence, lease.c.expires_at).where(lease.c.name == name)).first()
    if row is not None and row.fence == fence and row.expires_at > now:
        return
    if row is None or row.fence == fence:
        said = f"lease {name} with fence {fence} has run out"
    else:
        said = f"lease {name} passed from fence {fence} to {row.fence}, held by {row.holder}"
    raise Conflict(f"{said}; nothing was written", fix="take the lease again and start the step anew")
