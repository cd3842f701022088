"""The `doctor` and `config` commands: is this machine ready, and what holds here."""

from shipway.cli.diagnosis import diagnose
from shipway.cli.frame import LOCAL, Answer, Session, command, group, table

app = group("Check this machine.")
config_app = group("Show settings and where they come from.")

_CODES = {"ok": 0, "warn": 1, "fail": 3}


@command(app, "doctor", options=LOCAL)
def doctor(session: Session) -> Answer:
    """Check this machine and this installation: 0 all is well, 1 something to look at, 3 something is broken."""
    checks = diagnose(session.settings)
    worst = max(_CODES[check.state] for check in checks)
    lines = [
        f"{check.state:<5} {check.name:<12} {check.evidence}"
        + (f"\n      {'fix:':<12} {check.fix}" if check.fix else "")
        for check in checks
    ]
    return Answer(
        {"state": next(state for state, code in _CODES.items() if code == worst), "checks": checks},
        "\n".join(lines),
        worst,
    )


@command(config_app, "show", options=LOCAL)
def config_show(session: Session) -> Answer:
    """Show every setting, its value and where the value comes from."""
    shown = session.settings.shown()
    value = {one.name: {"value": one.value, "origin": one.origin} for one in shown}
    return Answer(
        value, table(["setting", "value", "from"], [[one.name, one.value or '""', one.origin] for one in shown])
    )
