//! The rows of runs: written with the commits that change them, listed newest first.

use std::collections::BTreeMap;

use aura_core::commit::Header;
use aura_core::error::Code;
use aura_core::fork::ForkPoint;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::ports::{Mark, RunQuery, RunRow, RunStatus, StoreError};
use aura_core::time::Millis;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use uuid::Uuid;

use crate::fault::{self, broken};

/// Rows that a query without a limit yields.
const DEFAULT_ROWS: usize = 1_000;

/// Rows looked at in one read transaction.
const PAGE: usize = 1_000;

const ACTIVE: i64 = 0;
const ASLEEP: i64 = 1;
const CLOSED: i64 = 2;

/// Whether two rows of a run differ in nothing but how far the run is, which the log tells.
pub(super) fn same_but_progress(old: &RunRow, new: &RunRow) -> bool {
    old.mark == new.mark
        && old.in_doubt == new.in_doubt
        && old.error == new.error
        && same_head(old, new)
}

/// Whether two rows of a run differ only in the columns that no index covers.
pub(super) fn same_head(old: &RunRow, new: &RunRow) -> bool {
    old.status == new.status
        && old.started == new.started
        && old.flow_hash == new.flow_hash
        && old.flow == new.flow
        && old.labels == new.labels
        && (old.parent, old.root, old.next) == (new.parent, new.root, new.next)
}

fn mark_columns(mark: Mark) -> (i64, Option<i64>) {
    match mark {
        Mark::Active => (ACTIVE, None),
        Mark::Asleep(until) => (ASLEEP, until.map(|at| at.0)),
        Mark::Closed => (CLOSED, None),
    }
}

/// Writes the columns that change while a run goes on.
pub(super) fn update_often(conn: &Connection, number: i64, row: &RunRow) -> rusqlite::Result<()> {
    let (mark, wake_at) = mark_columns(row.mark);
    let sql = "UPDATE runs SET mark = ?2, wake_at = ?3, updated = ?4, events = ?5,
                   in_doubt = ?6, error = ?7
               WHERE number = ?1";
    conn.prepare_cached(sql)?.execute((
        number,
        mark,
        wake_at,
        row.updated.0,
        row.events.cast_signed(),
        row.in_doubt,
        row.error.map(Code::as_str),
    ))?;
    Ok(())
}

/// Writes the row of a run that is new to the store; gives its number.
pub(super) fn insert(conn: &Connection, row: &RunRow) -> rusqlite::Result<i64> {
    let (mark, wake_at) = mark_columns(row.mark);
    let sql = "INSERT INTO runs (run, flow, flow_hash, status, labels, started, mark, wake_at,
                   updated, events, in_doubt, error, parent_run, root, next)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    conn.prepare_cached(sql)?.execute((
        &row.run.0.as_bytes()[..],
        &row.flow,
        &row.flow_hash.0[..],
        row.status.as_str(),
        labels_text(row)?,
        row.started.0,
        mark,
        wake_at,
        row.updated.0,
        row.events.cast_signed(),
        row.in_doubt,
        row.error.map(Code::as_str),
        id(row.parent),
        id(row.root),
        id(row.next),
    ))?;
    Ok(conn.last_insert_rowid())
}

/// Says where a run left another; false if that one is not in the store.
pub(super) fn set_parent(
    conn: &Connection,
    number: i64,
    point: &ForkPoint,
) -> rusqlite::Result<bool> {
    let sql = "UPDATE runs SET parent = p.number, cut = ?3
               FROM (SELECT number FROM runs WHERE run = ?2) AS p WHERE runs.number = ?1";
    let parent = &point.parent.0.as_bytes()[..];
    let changed = conn.prepare_cached(sql)?.execute((number, parent, point.seq.cast_signed()))?;
    Ok(changed == 1)
}

fn id(run: Option<RunId>) -> Option<Vec<u8>> {
    run.map(|run| run.0.as_bytes().to_vec())
}

fn labels_text(row: &RunRow) -> rusqlite::Result<String> {
    serde_json::to_string(&row.labels)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

/// Writes every column.
pub(super) fn update_all(conn: &Connection, number: i64, row: &RunRow) -> rusqlite::Result<()> {
    let labels = labels_text(row)?;
    let sql = "UPDATE runs SET flow = ?2, flow_hash = ?3, status = ?4, labels = ?5, started = ?6,
                   parent_run = ?7, root = ?8, next = ?9
               WHERE number = ?1";
    conn.prepare_cached(sql)?.execute((
        number,
        &row.flow,
        &row.flow_hash.0[..],
        row.status.as_str(),
        labels,
        row.started.0,
        id(row.parent),
        id(row.root),
        id(row.next),
    ))?;
    update_often(conn, number, row)
}

/// The rows that a query asks for.
pub(super) fn list(conn: &Connection, query: &RunQuery) -> Result<Vec<RunRow>, StoreError> {
    let limit = if query.limit == 0 { DEFAULT_ROWS } else { query.limit };
    let Some(filter) = Filter::of(query) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = filter.page(conn, after)?;
        let more = page.len() == PAGE;
        after = page.last().map(|row| (row.started, row.run));
        let wanted = page.into_iter().filter(|row| has_labels(row, &query.labels));
        found.extend(wanted.take(limit - found.len()));
        if found.len() == limit || !more {
            return Ok(found);
        }
    }
}

fn has_labels(row: &RunRow, labels: &BTreeMap<String, String>) -> bool {
    labels.iter().all(|(key, value)| row.labels.get(key) == Some(value))
}

/// What SQL can decide of a query; labels are compared afterwards, row by row.
struct Filter {
    sql: String,
    params: Vec<Value>,
}

/// The condition of the index over open runs. A row that was not written yet is neither open nor ended.
pub(super) const OPEN: &str =
    "status NOT IN ('completed', 'failed', 'cancelled', 'compensated', 'compensation_failed')";

impl Filter {
    /// `None` if no id can start as the query says.
    fn of(query: &RunQuery) -> Option<Self> {
        let mut filter = Self { sql: "status IS NOT NULL".to_owned(), params: Vec::new() };
        if let Some(prefix) = &query.id_prefix {
            let (low, high) = ids_from(prefix)?;
            let low = filter.param(Value::Blob(low.to_vec()));
            let high = filter.param(Value::Blob(high.to_vec()));
            filter.and(&format!("run BETWEEN {low} AND {high}"));
        }
        if let Some(flow) = &query.flow {
            let flow = filter.param(Value::Text(flow.clone()));
            filter.and(&format!("flow = {flow}"));
        }
        for (column, run) in [("parent_run", query.parent), ("root", query.root)] {
            if let Some(run) = run {
                let run = filter.param(Value::Blob(run.0.as_bytes().to_vec()));
                filter.and(&format!("{column} = {run}"));
            }
        }
        if query.top {
            filter.and("root IS NULL");
        }
        if !query.statuses.is_empty() {
            if !query.statuses.iter().any(|status| status.closed()) {
                // The words of the index over open runs, which SQLite needs to see in order to use it.
                filter.and(OPEN);
            }
            let words: Vec<String> =
                query.statuses.iter().map(|status| format!("'{}'", status.as_str())).collect();
            filter.and(&format!("status IN ({})", words.join(", ")));
        }
        Some(filter)
    }

    fn param(&mut self, value: Value) -> String {
        self.params.push(value);
        format!("?{}", self.params.len())
    }

    fn and(&mut self, condition: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
    }

    fn page(
        &self,
        conn: &Connection,
        after: Option<(Millis, RunId)>,
    ) -> Result<Vec<RunRow>, StoreError> {
        let mut params = self.params.clone();
        let mut place = String::new();
        if let Some((started, run)) = after {
            params.push(Value::Integer(started.0));
            params.push(Value::Blob(run.0.as_bytes().to_vec()));
            place = format!(" AND (started, run) < (?{}, ?{})", params.len() - 1, params.len());
        }
        let sql = format!(
            "SELECT run, flow, flow_hash, status, mark, wake_at, labels, started, updated, events,
                 in_doubt, error, CASE WHEN mark = {CLOSED} THEN NULL ELSE
                     (SELECT header FROM commits WHERE commits.run = runs.number
                      ORDER BY seq DESC LIMIT 1) END,
                 cut, (SELECT p.run FROM runs AS p WHERE p.number = runs.parent),
                 parent_run, root, next
             FROM runs WHERE {}{place} ORDER BY started DESC, run DESC LIMIT {PAGE}",
            self.sql
        );
        let of_sqlite = |e| fault::of_sqlite("runs can't be listed", &e);
        let mut statement = conn.prepare_cached(&sql).map_err(of_sqlite)?;
        let mut rows = statement.query(params_from_iter(params)).map_err(of_sqlite)?;
        let mut page = Vec::new();
        while let Some(row) = rows.next().map_err(of_sqlite)? {
            page.push(decode(row)?);
        }
        Ok(page)
    }
}

/// The first and the last id that start with `prefix`; `None` if it is not the start of an id.
fn ids_from(prefix: &str) -> Option<([u8; 16], [u8; 16])> {
    let (mut low, mut high) = ([0_u8; 16], [0xff_u8; 16]);
    for (at, digit) in prefix.chars().filter(|c| *c != '-').enumerate() {
        let digit = u8::try_from(digit.to_digit(16)?).ok()?;
        let (low, high) = (low.get_mut(at / 2)?, high.get_mut(at / 2)?);
        if at % 2 == 0 {
            (*low, *high) = (digit << 4, digit << 4 | 0x0f);
        } else {
            (*low, *high) = (*low | digit, *high & 0xf0 | digit);
        }
    }
    Some((low, high))
}

fn decode(row: &Row<'_>) -> Result<RunRow, StoreError> {
    let id: [u8; 16] = row.get(0).map_err(|e| fault::of_sqlite("a run's id is damaged", &e))?;
    let run = RunId(Uuid::from_bytes(id));
    let damaged = |e| fault::of_sqlite(&format!("the row of run {run} is damaged"), &e);
    let wrong = |what: &str| {
        broken(Code::StoreCorrupt, format!("the row of run {run} is damaged: its {what}"))
    };
    let status: String = row.get(3).map_err(damaged)?;
    let status = RunStatus::ALL.into_iter().find(|known| known.as_str() == status);
    let wake_at: Option<i64> = row.get(5).map_err(damaged)?;
    let mark = match row.get(4).map_err(damaged)? {
        ACTIVE => Mark::Active,
        ASLEEP => Mark::Asleep(wake_at.map(Millis)),
        CLOSED => Mark::Closed,
        _ => return Err(wrong("mark")),
    };
    let labels: String = row.get(6).map_err(damaged)?;
    let mut updated = Millis(row.get(8).map_err(damaged)?);
    let mut events = row.get::<_, i64>(9).map_err(damaged)?.cast_unsigned();
    // While a run goes on, its row is not written for each of its commits; the last of them says how far it is.
    let last: Option<Vec<u8>> = row.get(12).map_err(damaged)?;
    if let Some(Ok(last)) = last.map(|bytes| Header::decode(&bytes)) {
        updated = last.at;
        events = last.seq + u64::from(last.count) - 1;
    }
    let error: Option<String> = row.get(11).map_err(damaged)?;
    let error = error.map(|code| code.parse()).transpose();
    let cut: Option<i64> = row.get(13).map_err(damaged)?;
    let parent: Option<[u8; 16]> = row.get(14).map_err(damaged)?;
    let forked = parent.zip(cut).map(|(parent, cut)| ForkPoint {
        parent: RunId(Uuid::from_bytes(parent)),
        seq: cut.cast_unsigned(),
    });
    let related = |column| {
        let id: Option<[u8; 16]> = row.get(column).map_err(damaged)?;
        Ok::<_, StoreError>(id.map(|id| RunId(Uuid::from_bytes(id))))
    };
    Ok(RunRow {
        run,
        flow: row.get(1).map_err(damaged)?,
        flow_hash: Hash(row.get(2).map_err(damaged)?),
        status: status.ok_or_else(|| wrong("status"))?,
        mark,
        labels: serde_json::from_str(&labels).map_err(|_| wrong("labels"))?,
        started: Millis(row.get(7).map_err(damaged)?),
        updated,
        events,
        in_doubt: row.get(10).map_err(damaged)?,
        error: error.map_err(|_| wrong("error code"))?,
        forked,
        parent: related(15)?,
        root: related(16)?,
        next: related(17)?,
    })
}
