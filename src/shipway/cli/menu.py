"""Every command: its line of help, and the function that loads its module. Nothing heavy is imported here."""

import typer

from shipway.cli.frame import Item


def _running() -> typer.Typer:
    from shipway.cli import running

    return running.app


def _files() -> typer.Typer:
    from shipway.cli import files

    return files.app


def _deploying() -> typer.Typer:
    from shipway.cli import deploying

    return deploying.app


def _endpoint() -> typer.Typer:
    from shipway.cli import deploying

    return deploying.endpoint_app


def _calling() -> typer.Typer:
    from shipway.cli import calling

    return calling.app


def _scoring() -> typer.Typer:
    from shipway.cli import scoring

    return scoring.app


def _rollout() -> typer.Typer:
    from shipway.cli import rollouts

    return rollouts.app


def _monitor() -> typer.Typer:
    from shipway.cli import watching

    return watching.app


def _alert() -> typer.Typer:
    from shipway.cli import watching

    return watching.alert_app


def _retrain() -> typer.Typer:
    from shipway.cli import watching

    return watching.retrain_app


def _records() -> typer.Typer:
    from shipway.cli import records

    return records.app


def _audit() -> typer.Typer:
    from shipway.cli import records

    return records.audit_app


def _token() -> typer.Typer:
    from shipway.cli import records

    return records.token_app


def _machine() -> typer.Typer:
    from shipway.cli import machine

    return machine.app


def _config() -> typer.Typer:
    from shipway.cli import machine

    return machine.config_app


MENU: dict[str, Item] = {
    "demo": Item("Tell the whole story on real data, in about a minute.", _running),
    "up": Item("Run control plane, collector and server on this machine.", _running),
    "down": Item("Stop what `shipway up --detach` started.", _running),
    "serve": Item("Run a server: answer predictions.", _running),
    "collect": Item("Run the collector: move captures into the lake.", _running),
    "control": Item("Run the control plane: API, console and clockwork.", _running),
    "pack": Item("Make a bundle from a trained model.", _files),
    "inspect": Item("Show what a bundle or a version is.", _files),
    "verify": Item("Check every byte of a bundle.", _files),
    "diff": Item("Compare two bundles or versions.", _files),
    "score": Item("Score a Parquet, CSV or JSON Lines file with a bundle, here.", _scoring),
    "gate": Item("Judge from evidence whether a version may ship.", _deploying),
    "push": Item("Upload and register a bundle without deploying it.", _deploying),
    "deploy": Item("Make a version answer everyone at an endpoint.", _deploying),
    "rollback": Item("Return an endpoint to its champion, or the one before.", _deploying),
    "list": Item("List models and endpoints.", _deploying),
    "endpoint": Item("Change settings and policy files of an endpoint.", _endpoint, is_group=True),
    "predict": Item("Ask an endpoint for predictions.", _calling),
    "label": Item("Say what turned out to be true.", _calling),
    "rollout": Item("Move traffic to a challenger, one safe step at a time.", _rollout, is_group=True),
    "monitor": Item("Compare traffic with the reference.", _monitor, is_group=True),
    "alert": Item("Check that alerts arrive.", _alert, is_group=True),
    "retrain": Item("Make a challenger from captured and labelled rows.", _retrain, is_group=True),
    "card": Item("Print the card of a version: measured, attested, absent.", _records),
    "audit": Item("Check the ledger.", _audit, is_group=True),
    "token": Item("Make, list and revoke API tokens.", _token, is_group=True),
    "doctor": Item("Check this machine and this installation.", _machine),
    "config": Item("Show settings and where they come from.", _config, is_group=True),
}
