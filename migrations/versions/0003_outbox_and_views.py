"""The outbox table, into which applications write by transactions of their own, and the table
of those of its rows that cannot be published.

On PostgreSQL a trigger wakes the server up. What people look at by SQL comes with it: the views.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import DATETIME, LONGBLOB, LONGTEXT

from stan.store.sql.revising import create_table

revision = "0003"
down_revision = "0002"

_MYSQL = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}
_TEXT = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")
_BLOB = sa.LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")

# Transactions that notify commit one after the other, so only those do that find the server asleep:
# it then holds this lock. It does not fall asleep while a transaction that did not notify is open.
_WAKE = """
CREATE OR REPLACE FUNCTION stan_outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT pg_try_advisory_xact_lock_shared(6001823419) THEN
    PERFORM pg_notify('stan_outbox', '');
  END IF;
  RETURN NULL;
END $$
"""
_WAKE_TRIGGER = (
    "CREATE TRIGGER stan_outbox_wake AFTER INSERT ON stan_outbox "
    "FOR EACH STATEMENT EXECUTE FUNCTION stan_outbox_wake()"
)

# How the databases spell what the views ask for. Times are nanoseconds; a range of sequences in
# flight is "12" or "12-14", or empty where nothing is.
_SPELLED = {
    "postgresql": {
        "before_colon": "split_part({0}, ':', 1)",
        "after_colon": "substr({0}, position(':' IN {0}) + 1)",
        "moment": "timestamptz 'epoch' + ({0} / 1000) * interval '1 microsecond'",
        "now_s": "extract(epoch FROM clock_timestamp())",
        "seconds": "({0} / 1000000000.0)",
        "greatest": "greatest",
        "bytes": "octet_length({0})",
        "text": "stan_text(m.data)",
        "json": "stan_json(m.data)",
        "ranges": (
            "CROSS JOIN LATERAL unnest(CASE WHEN s.in_flight = '' THEN ARRAY[''] "
            "ELSE string_to_array(s.in_flight, ',') END) AS r(r)"
        ),
        "range": "r.r",
        "first": "CAST(split_part(r.r, '-', 1) AS bigint)",
        "last": "CAST(split_part(r.r, '-', 2) AS bigint)",
        "dash": "position('-' IN r.r)",
    },
    "mysql": {
        "before_colon": "SUBSTRING_INDEX({0}, ':', 1)",
        "after_colon": "SUBSTRING({0}, LOCATE(':', {0}) + 1)",
        "moment": "TIMESTAMPADD(MICROSECOND, {0} DIV 1000, '1970-01-01 00:00:00.000000')",
        "now_s": "UNIX_TIMESTAMP(SYSDATE(6))",
        "seconds": "({0} / 1000000000.0)",
        "greatest": "GREATEST",
        "bytes": "LENGTH({0})",
        "text": "CASE WHEN {valid} THEN CONVERT(m.data USING utf8mb4) END",
        "json": (
            "CASE WHEN {valid} AND JSON_VALID(CONVERT(m.data USING utf8mb4)) "
            "THEN CONVERT(m.data USING utf8mb4) END"
        ),
        "ranges": (
            "JOIN JSON_TABLE(CONCAT('[\"', REPLACE(s.in_flight, ',', '\",\"'), '\"]'), '$[*]' "
            "COLUMNS (r VARCHAR(64) PATH '$')) AS r"
        ),
        "range": "r.r",
        "first": "CAST(SUBSTRING_INDEX(r.r, '-', 1) AS SIGNED)",
        "last": "CAST(SUBSTRING_INDEX(r.r, '-', -1) AS SIGNED)",
        "dash": "LOCATE('-', r.r)",
    },
    "sqlite": {
        "before_colon": "substr({0}, 1, instr({0}, ':') - 1)",
        "after_colon": "substr({0}, instr({0}, ':') + 1)",
        "moment": (
            "strftime('%Y-%m-%d %H\\:%M\\:%S', {0} / 1000000000, 'unixepoch') || "
            "printf('.%06d', {0} / 1000 % 1000000)"
        ),
        "now_s": "((julianday('now') - 2440587.5) * 86400)",
        "seconds": "({0} / 1000000000.0)",
        "greatest": "max",
        "bytes": "length({0})",
        "text": "CASE WHEN {valid} THEN CAST(m.data AS TEXT) END",
        "json": (
            "CASE WHEN {valid} AND json_valid(CAST(m.data AS TEXT)) THEN CAST(m.data AS TEXT) END"
        ),
        "ranges": ("JOIN json_each('[\"' || replace(s.in_flight, ',', '\",\"') || '\"]') AS r"),
        "range": "r.value",
        "first": "CAST(r.value AS INTEGER)",
        "last": "CAST(substr(r.value, instr(r.value, '-') + 1) AS INTEGER)",
        "dash": "instr(r.value, '-')",
    },
}
_SPELLED["mariadb"] = _SPELLED["mysql"]

# What is no UTF-8 is converted into something else, but MariaDB lets halves of pairs pass.
_MYSQL_VALID = """
(CAST(CONVERT(m.data USING utf8mb4) AS BINARY) = m.data
  AND (LOCATE(x'ED', m.data) = 0 OR HEX(m.data) NOT REGEXP '^(..)*ED[AB]'))
"""
# SQLite does not tell what is no UTF-8, and whoever reads such a text meets an error. ASCII is
# seen at once; else each character of a short payload must be what its number makes.
_SQLITE_VALID = """
(instr(m.data, x'00') = 0 AND (
  CAST(m.data AS TEXT) NOT GLOB '*[^' || char(1) || '-~]*'
  OR (length(m.data) <= 8192 AND NOT EXISTS (
    WITH RECURSIVE place(n) AS (
      SELECT 1 UNION ALL SELECT n + 1 FROM place WHERE n < length(CAST(m.data AS TEXT)))
    SELECT 1 FROM place WHERE CAST(substr(CAST(m.data AS TEXT), n, 1) AS BLOB)
      <> CAST(char(unicode(substr(CAST(m.data AS TEXT), n, 1))) AS BLOB)))))
"""

_POSTGRES_FUNCTIONS = (
    """
CREATE OR REPLACE FUNCTION stan_text(data bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN convert_from(data, 'UTF8');
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END $$
""",
    """
CREATE OR REPLACE FUNCTION stan_json(data bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN CAST(convert_from(data, 'UTF8') AS jsonb);
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END $$
""",
)


def _views(database: str) -> dict[str, str]:
    """What people look at: the numbers are those of the monitoring."""
    valid = _SQLITE_VALID if database == "sqlite" else _MYSQL_VALID
    words = {name: text.replace("{valid}", valid) for name, text in _SPELLED[database].items()}

    def moment(column: str) -> str:
        return words["moment"].replace("{0}", column)

    return {
        "stan_v_messages": (
            "SELECT c.name AS channel, m.sequence, "
            f"{moment('m.timestamp_ns')} AS time, m.timestamp_ns, "
            f"{words['bytes'].replace('{0}', 'm.data')} AS size, m.reply, m.data AS payload, "
            f"{words['text']} AS text, {words['json']} AS json "
            "FROM stan_channels c JOIN stan_messages m ON m.channel_id = c.channel_id "
            "AND m.sequence >= c.first_sequence AND m.sequence <= c.last_sequence "
            "WHERE c.deleted = 0"
        ),
        "stan_v_channels": (
            "SELECT c.name AS channel, c.channel_id, c.count AS messages, "
            "c.end_position - c.first_position AS bytes, "
            "CASE WHEN c.last_sequence = 0 THEN 0 ELSE c.first_sequence END AS first_sequence, "
            "c.last_sequence, "
            f"CASE WHEN c.count > 0 THEN {moment('c.first_timestamp_ns')} END AS first_time, "
            f"CASE WHEN c.last_sequence > 0 THEN {moment('c.last_timestamp_ns')} END AS last_time, "
            "(SELECT COUNT(*) FROM stan_subscriptions s WHERE s.channel_id = c.channel_id) "
            "AS subscriptions FROM stan_channels c WHERE c.deleted = 0"
        ),
        "stan_v_durables": _durables(words),
        "stan_v_clients": (
            "SELECT c.client_id, c.heartbeat_inbox, "
            "(SELECT COUNT(*) FROM stan_subscriptions s "
            "WHERE s.client_id = c.client_id AND s.is_closed = 0) AS subscriptions "
            "FROM stan_clients c"
        ),
    }


def _durables(words: dict[str, str]) -> str:
    """A row for each durable: what it has not acknowledged, sent or not, and since when."""
    # A durable group is stored as "durable:group".
    durable = (
        "CASE WHEN d.queue_group = '' THEN d.durable_name "
        f"ELSE {words['before_colon'].replace('{0}', 'd.queue_group')} END"
    )
    group = (
        "CASE WHEN d.queue_group = '' THEN '' "
        f"ELSE {words['after_colon'].replace('{0}', 'd.queue_group')} END"
    )
    next_unsent = f"{words['greatest']}(g.last_sent + 1, c.first_sequence)"
    unsent = (
        f"CASE WHEN {next_unsent} <= c.last_sequence "
        f"THEN c.last_sequence + 1 - {next_unsent} ELSE 0 END"
    )
    positions = (
        f"SELECT g.*, c.name AS channel, {unsent} AS unsent, CASE "
        f"WHEN c.first_sequence > c.last_sequence THEN NULL "
        f"WHEN g.earliest IS NOT NULL THEN {words['greatest']}(g.earliest, c.first_sequence) "
        f"WHEN {unsent} > 0 THEN {next_unsent} END AS oldest "
        f"FROM ({_in_flight(words)}) AS g JOIN stan_channels c ON c.channel_id = g.channel_id "
        "WHERE c.deleted = 0"
    )
    age_s = f"{words['now_s']} - {words['seconds'].replace('{0}', 'm.timestamp_ns')}"
    return (
        f"SELECT d.channel, {durable} AS durable, {group} AS queue_group, "
        "d.client_id, d.members, "
        "d.last_sent, d.pending, d.unsent, d.unsent + d.pending AS lag, "
        f"COALESCE(d.oldest, 0) AS oldest_sequence, {age_s} AS oldest_age_s "
        f"FROM ({positions}) AS d LEFT JOIN stan_messages m "
        "ON m.channel_id = d.channel_id AND m.sequence = d.oldest"
    )


def _in_flight(words: dict[str, str]) -> str:
    """What each durable has in flight, all members of a group together."""
    in_range = (
        f"CASE WHEN {words['range']} = '' THEN 0 WHEN {words['dash']} = 0 THEN 1 "
        f"ELSE {words['last']} - {words['first']} + 1 END"
    )
    client = "CASE WHEN s.queue_group = '' THEN s.client_id ELSE '' END"
    return (
        f"SELECT s.channel_id, {client} AS client_id, s.durable_name, s.queue_group, "
        "COUNT(DISTINCT CASE WHEN s.is_closed = 0 THEN s.subscription_id END) AS members, "
        f"MAX(s.last_sent) AS last_sent, SUM({in_range}) AS pending, "
        f"MIN(CASE WHEN {words['range']} <> '' THEN {words['first']} END) AS earliest "
        f"FROM stan_subscriptions s {words['ranges']} WHERE s.is_durable = 1 "
        f"GROUP BY s.channel_id, {client}, s.durable_name, s.queue_group"
    )


def _now() -> sa.TextClause:
    is_mysql = op.get_context().dialect.name in ("mysql", "mariadb")
    return sa.text("(UTC_TIMESTAMP(6))" if is_mysql else "CURRENT_TIMESTAMP")


def upgrade() -> None:
    # An application's migrations may have made both.
    create_table(
        "stan_outbox",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("channel", _TEXT, nullable=False),
        sa.Column("data", _BLOB, nullable=False),
        sa.Column("reply", _TEXT),
        sa.Column("msg_id", _TEXT),
        sa.Column("created_at", _MOMENT, nullable=False, server_default=_now()),
        sqlite_autoincrement=True,
        **_MYSQL,
    )
    create_table(
        "stan_outbox_parked",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("channel", _TEXT, nullable=False),
        sa.Column("data", _BLOB, nullable=False),
        sa.Column("reply", _TEXT),
        sa.Column("msg_id", _TEXT),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("parked_at", _MOMENT, nullable=False, server_default=_now()),
        sa.Column("reason", _TEXT, nullable=False),
        **_MYSQL,
    )
    database = op.get_context().dialect.name
    if database == "postgresql":
        for statement in (_WAKE, _WAKE_TRIGGER, *_POSTGRES_FUNCTIONS):
            op.execute(statement)
    for name, query in _views(database).items():
        # SQLite knows no REPLACE here, and takes back all of a revision that is broken off.
        again = "" if database == "sqlite" else "OR REPLACE "
        op.execute(f"CREATE {again}VIEW {name} AS {query}")


def downgrade() -> None:
    for name in _views(op.get_context().dialect.name):
        op.execute(f"DROP VIEW {name}")
    op.drop_table("stan_outbox_parked")
    op.drop_table("stan_outbox")
    if op.get_context().dialect.name == "postgresql":
        for function in ("stan_outbox_wake()", "stan_text(bytea)", "stan_json(bytea)"):
            op.execute(f"DROP FUNCTION {function}")
