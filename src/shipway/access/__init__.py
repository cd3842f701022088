"""Projects, tokens and roles: who may do what.

    secret = access.issue(tx, project="default", name="laptop", role="admin", now=now, actor="ann")
    principal = access.authenticate(tx, secret, now)    # once, at the edge
    access.require(principal, "admin")                  # before each act

A secret is shown once, when it is issued; what is kept is its sha256, which is enough because a secret holds
256 random bits. Every refusal reads the same, so that it does not say which secrets ever existed.
"""

from shipway.access.projects import create_project, projects
from shipway.access.tokens import TokenRow, authenticate, issue, require, revoke, tokens

__all__ = ["TokenRow", "authenticate", "create_project", "issue", "projects", "require", "revoke", "tokens"]
