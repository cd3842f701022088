"""What servers and collectors use: health, route tables, counts, the inbox."""

from importlib import metadata
from pathlib import Path
from typing import Annotated

from anyio import sleep
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from shipway.api.call import Platform, Server, answer, body
from shipway.api.endpoints import server_address
from shipway.endpoint.routes import latest
from shipway.errors import Rejected
from shipway.lake.inbox import InboxRow, receive
from shipway.rollout.counts import record_counts
from shipway.terms import CountsReport, RouteTable

router = APIRouter(tags=["servers"])


@router.get("/v1/health")
def health(request: Request) -> Response:
    """Say that the control plane is there, which release it is, and where its server answers."""
    platform: Platform = request.app.state.platform
    clockwork = getattr(request.app.state, "clockwork", None)
    failing = sorted(getattr(clockwork, "failures", {}))
    return answer(
        {
            "ok": not failing,
            "version": metadata.version("shipway"),
            "server": server_address(platform.settings),
            "failing": failing,
        }
    )


@router.get("/v1/routes")
async def route_table(
    call: Server, after: Annotated[int, Query(ge=0, le=2**53)] = 0, wait_s: Annotated[float, Query(ge=0, le=60)] = 20.0
) -> Response:
    """Answer the newest route table as soon as its epoch is above `after`; null if that takes longer than `wait_s`."""

    def newest() -> RouteTable | None:
        with call.platform.database.read() as tx:
            return latest(tx)

    for _ in range(int(wait_s / 0.25) + 1):
        table = await run_in_threadpool(newest)
        if table is not None and table.epoch > after:
            return answer(table)
        if wait_s:
            await sleep(0.25)
    return answer(None)


@router.post("/v1/counts")
def take_counts(call: Server, report: Annotated[CountsReport, Depends(body(CountsReport))]) -> Response:
    """Take the counts of a server; totals per incarnation, so a repeat is harmless. Also its heartbeat."""
    with call.platform.database.transaction() as tx:
        record_counts(tx, report, call.now)
    return answer({"ok": True})


@router.post("/v1/inbox")
def take_segment(call: Server, row: Annotated[InboxRow, Depends(body(InboxRow))]) -> Response:
    """Take what a collector made of one segment; a repeat is harmless."""
    incoming = call.platform.settings.incoming.resolve()
    if not Path(row.path).resolve().is_relative_to(incoming):
        # The committer reads this file with its own rights: a server's token must not name others.
        what = f"the file of segment {row.segment[:80]!r}"
        raise Rejected(f"{what} is not among the collected ones", fix=f"put it below {incoming}")
    with call.platform.database.transaction() as tx:
        receive(tx, row, call.now)
    return answer({"ok": True})
