"""Every table of the metadata database, as SQLAlchemy Core sees it.

The migrations in `versions/` make these; a test compares the two. Times are Unix seconds (float),
JSON columns hold text that msgspec wrote, digests are `sha256:<hex>`. Everything people own carries
`project`, which is `default` for a single user.

Not here: inference captures, labels and profiles by row, which live in the lake.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

project = Table(
    "project",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Float, nullable=False),
)

token = Table(
    "token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("endpoints", Text, nullable=False, server_default="[]"),  # JSON list; predict tokens only; [] means all
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    CheckConstraint("role in ('admin', 'predict', 'server')", name="role"),
)

model = Table(
    "model",
    metadata,
    Column("project", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("created_at", Float, nullable=False),
)

version = Table(
    "version",
    metadata,
    Column("project", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("archived_at", Float),
    ForeignKeyConstraint(["project", "model"], ["model.project", "model.name"]),
    Index(None, "digest"),
    UniqueConstraint("project", "model", "digest"),
)

alias = Table(
    "alias",
    metadata,
    Column("project", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("revision", Integer, nullable=False),  # grows by one at each move; what compare-and-set compares
    ForeignKeyConstraint(["project", "model", "version"], ["version.project", "version.model", "version.version"]),
)

alias_move = Table(
    "alias_move",
    metadata,
    Column("project", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("moved_at", Float, nullable=False),
    Column("moved_by", Text, nullable=False),
    Column("why", Text, nullable=False),
)

evidence = Table(  # attached to a digest, never inside the bundle: gate evidence, cards, signatures
    "evidence",
    metadata,
    Column("id", Text, primary_key=True),  # sha256 of project, digest, kind and statement
    Column("project", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("kind", Text, nullable=False),  # gate | card | signature
    Column("verdict", Text),
    Column("statement", Text, nullable=False),  # in-toto statement, canonical JSON
    Column("created_at", Float, nullable=False),
    Index(None, "digest", "kind"),
)

endpoint = Table(
    "endpoint",
    metadata,
    Column("project", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("champion", Integer, nullable=False),
    Column("previous", Integer),  # the champion before, for an instant rollback
    Column("variants", Text, nullable=False),  # JSON list of terms.Variant: what servers are told
    Column("rollout", Text, nullable=False, server_default=""),
    Column("restart", Integer, nullable=False, server_default="0"),
    Column("settings", Text, nullable=False, server_default="{}"),  # JSON of endpoint.EndpointSettings
    Column(
        "policies", Text, nullable=False, server_default="{}"
    ),  # JSON {"rollout": toml text, "monitor": ..., "retrain": ..., "gate": ...}
    Column("revision", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
)

rollout = Table(
    "rollout",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("champion", Integer, nullable=False),
    Column("challenger", Integer, nullable=False),
    Column("policy", Text, nullable=False),  # the TOML it runs under, as it was at the start
    Column("policy_digest", Text, nullable=False),
    Column("state", Text, nullable=False),  # running | paused | waiting | promoted | rolled_back | superseded
    Column("step", Integer, nullable=False, server_default="0"),
    Column("restart", Integer, nullable=False, server_default="0"),
    Column("started_at", Float, nullable=False),
    Column("step_started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column(
        "latest", Text, nullable=False, server_default="{}"
    ),  # JSON of the newest rollout.Decision, for status pages
    Column("history", Text, nullable=False, server_default="[]"),  # JSON list of thinned points for the charts
    Index(None, "project", "endpoint", "state"),
)

rollout_count = Table(  # from servers, within a second
    "rollout_count",
    metadata,
    Column("rollout", Text, primary_key=True),
    Column("restart", Integer, primary_key=True),
    Column("propensity", Integer, primary_key=True),
    Column("arm", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("latency_us", Text, nullable=False, server_default="[]"),
)

endpoint_count = Table(  # all answers, whether a rollout runs or not; what home and endpoint pages show
    "endpoint_count",
    metadata,
    Column("project", Text, primary_key=True),
    Column("endpoint", Text, primary_key=True),
    Column("minute", Integer, primary_key=True),  # Unix seconds // 60
    Column("version", Integer, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("latency_us", Text, nullable=False, server_default="[]"),
)

counts_seen = Table(  # last totals pushed by each worker incarnation; differences are what gets added
    "counts_seen",
    metadata,
    Column("server", Text, primary_key=True),
    Column("incarnation", Text, primary_key=True),
    Column("cells", Text, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("finished", Integer, nullable=False, server_default="0"),
)

server = Table(  # heartbeat of each server
    "server",
    metadata,
    Column("name", Text, primary_key=True),
    Column("seen_at", Float, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("health", Text, nullable=False, server_default="{}"),
)

route = Table(  # published route tables, newest epoch last
    "route",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("issued_at", Float, nullable=False),
    Column("body", Text, nullable=False),
)

inbox = Table(  # what collectors put down and the committer picks up
    "inbox",
    metadata,
    Column("segment", Text, primary_key=True),  # a repeat is harmless
    Column("project", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("path", Text, nullable=False),  # Parquet file
    Column("rows", Integer, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("profiles", LargeBinary, nullable=False),  # msgpack of profile deltas by (digest, variant, bucket)
    Column("received_at", Float, nullable=False),
    Column("committed_at", Float),
)

profile = Table(  # sums of profile deltas, folded when their segment is committed
    "profile",
    metadata,
    Column("project", Text, primary_key=True),
    Column("endpoint", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("variant", Text, primary_key=True),
    Column(
        "bucket", Integer, primary_key=True
    ),  # start of a stretch of `profile_bucket_s`, Unix seconds; monitors add buckets to windows
    Column("rows", Integer, nullable=False),
    Column("counts", LargeBinary, nullable=False),
)

label_inbox = Table(  # labels acknowledged to callers and not yet in the lake
    "label_inbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("project", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("event", Text, nullable=False, server_default=""),
    Column("row", Integer, nullable=False, server_default="0"),
    Column("key", Text, nullable=False, server_default=""),  # the user's own key, where the event id is not known
    Column("name", Text, nullable=False, server_default="label"),
    Column("value", Text, nullable=False),  # JSON scalar
    Column("at", Float, nullable=False),
    Column("received_at", Float, nullable=False),
)

monitor_state = Table(
    "monitor_state",
    metadata,
    Column("project", Text, primary_key=True),
    Column("endpoint", Text, primary_key=True),
    Column("digest", Text, primary_key=True),  # of the version whose reference is compared with
    Column("policy_digest", Text, nullable=False),
    Column("window", Float, nullable=False),  # end of the last window that was taken in, Unix seconds
    Column("state", LargeBinary, nullable=False),
    Column("summary", Text, nullable=False, server_default="{}"),  # JSON for pages and `monitor status`
)

signal = Table(
    "signal",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON of terms.Signal
    Column("raised_at", Float, nullable=False),
    Column("acknowledged_at", Float),
    Column("acknowledged_by", Text),
    Column("muted_until", Float),
    Column("closed_at", Float),
    Index(None, "project", "endpoint", "closed_at"),
)

job = Table(  # long work in a child process
    "job",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("kind", Text, nullable=False),  # retrain
    Column("subject", Text, nullable=False),  # endpoint name
    Column("state", Text, nullable=False),  # proposed | queued | running | done | failed
    Column("body", Text, nullable=False),  # JSON: why (signal id), command, inputs, outputs, pid
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("fence", Integer, nullable=False, server_default="0"),
    Index(None, "kind", "state"),
)

outbox = Table(  # what leaves the database: at least once, with the id as idempotency key
    "outbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("kind", Text, nullable=False),  # webhook | log
    Column("target", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("delivered_at", Float),
    Column("error", Text),
    Index(None, "delivered_at", "due_at"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("project", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),  # e.g. version.registered, gate.judged, rollout.decided, alias.moved
    Column("subject", Text, nullable=False),  # e.g. model:churn:3, endpoint:churn, rollout:<id>
    Column("payload", Text, nullable=False),  # canonical JSON
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Index(None, "subject"),
)

lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("expires_at", Float, nullable=False),
)
