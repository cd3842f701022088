"""Write a model card in which every sentence is measured, attested or absent.

    card(manifest, digest, evidence, monitor, ledger)   gather what is known about one version
    card_of(tx, version)                                the same for a registered version, from the database
    Card.to_markdown(), .to_html(), .to_json()          the same card for people, paper and machines

A *measured* claim names the digest or ledger entry of what produced it; an *attested* one names who said
it and when; an *absent* one is printed as a gap, with what would fill it, and never as filler. A gap is
part of the card: what nobody checked is worth knowing.

Works on plain values (a manifest and lists of dictionaries), so that a card can be made from files alone.
Not here: making evidence (`shipway.gate`), watching a version (`shipway.monitor`), the record (`shipway.ledger`).
"""

from shipway.govern.claims import Card, Claim, Section
from shipway.govern.gather import card
from shipway.govern.version import card_of

__all__ = ["Card", "Claim", "Section", "card", "card_of"]
