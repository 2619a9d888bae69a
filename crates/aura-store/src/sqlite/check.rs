//! Looking at everything: pages, chains, rows, blobs. Bounded in memory, and in short read transactions, so that
//! a store in use can be checked.

use std::path::Path;

use aura_core::data::{BlobRef, blob_address};
use aura_core::error::Code;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{Health, StoreError};
use rusqlite::{Connection, OptionalExtension};

use super::read::{COLUMNS, Raw, Shared, run_of, shared_head, unpack_blob};
use crate::blobs;
use crate::fault;
use crate::pack;

/// Rows looked at in one read transaction.
const PAGE: usize = 256;

/// Faults told; a store with more is past reading.
const FAULTS: usize = 1_000;

/// Faults of pages that SQLite looks for.
const PAGE_FAULTS: usize = 100;

struct Check<'a> {
    conn: &'a Connection,
    blobs: &'a Path,
    salt: Hash,
    health: Health,
}

/// Checks the whole store.
pub(super) fn all(conn: &Connection, blobs: &Path, salt: Hash) -> Result<Health, StoreError> {
    let mut check = Check { conn, blobs, salt, health: Health::default() };
    // Each part is looked at although another may be unreadable.
    let parts = [
        ("the pages of the file", check.pages()),
        ("the log", check.runs()),
        ("the table of blobs", check.table()),
    ];
    for (part, result) in parts {
        if let Err(error) = result {
            match fault::of_sqlite(&format!("{part} can't be read"), &error) {
                StoreError::Broken { code, message } => check.fault(None, code, message),
                other => return Err(other),
            }
        }
    }
    check.files();
    Ok(check.health)
}

impl Check<'_> {
    fn fault(&mut self, run: Option<RunId>, code: Code, message: String) {
        if self.health.faults.len() < FAULTS {
            self.health.faults.push((run, code, message));
        }
    }

    fn pages(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.conn.prepare(&format!("PRAGMA integrity_check({PAGE_FAULTS})"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            if text != "ok" {
                self.fault(None, Code::StoreCorrupt, text);
            }
        }
        Ok(())
    }

    /// Every number that a run or a commit has.
    fn runs(&mut self) -> rusqlite::Result<()> {
        let sql = "SELECT MIN(number) FROM (
                       SELECT MIN(number) AS number FROM runs WHERE number > ?1
                       UNION ALL SELECT MIN(run) FROM commits WHERE run > ?1)";
        let mut last = i64::MIN;
        loop {
            let next: Option<i64> =
                self.conn.prepare_cached(sql)?.query_row([last], |row| row.get(0))?;
            let Some(number) = next else { return Ok(()) };
            self.run(number)?;
            last = number;
        }
    }

    /// The chain of one run, and whether its row agrees.
    fn run(&mut self, number: i64) -> rusqlite::Result<()> {
        let run = run_of(self.conn, number)?;
        if run.is_some_and(super::compact::is_going) {
            return Ok(());
        }
        if run.is_none() {
            let message = format!("commits of the run with number {number} have no row");
            self.fault(None, Code::StoreCorrupt, message);
        }
        let mut chain = match shared_head(self.conn, number)? {
            Shared::Nothing => Chain { head: Some(Hash::ZERO), next: 1, after: i64::MIN },
            Shared::UpTo(cut, head) => {
                if head.is_none() {
                    let message = format!("no commit of its parent ends at event {cut}");
                    self.fault(run, Code::ChainBroken, message);
                }
                Chain { head, next: cut + 1, after: i64::MIN }
            }
        };
        loop {
            // The row and the last commits are seen at one moment, as a writer may be at work.
            let moment = self.conn.unchecked_transaction()?;
            let seen = self.page(number, run, &mut chain)?;
            if seen < PAGE {
                if run.is_some() {
                    self.row(number, run, &chain)?;
                }
                return moment.finish();
            }
            moment.finish()?;
        }
    }

    fn page(
        &mut self,
        number: i64,
        run: Option<RunId>,
        chain: &mut Chain,
    ) -> rusqlite::Result<usize> {
        let sql = format!(
            "SELECT {COLUMNS} FROM commits WHERE run = ?1 AND seq > ?2 ORDER BY seq LIMIT {PAGE}"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query((number, chain.after))?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            let raw = Raw::of(row)?;
            seen += 1;
            chain.after = raw.seq;
            self.health.commits += 1;
            match raw.commit(run) {
                Ok(commit) => {
                    let head = chain.head.map(|head| commit.check(head, chain.next));
                    if let Some(Err(bad)) = head {
                        self.fault(run, Code::ChainBroken, bad.to_string());
                    }
                    chain.head = Some(commit.hash);
                    chain.next = commit.header.seq + u64::from(commit.header.count);
                    self.named(run, &commit.payload)?;
                }
                Err((code, why)) => {
                    self.fault(run, code, why);
                    chain.head = None;
                }
            }
        }
        Ok(seen)
    }

    /// Whether the blobs that a payload names are there.
    fn named(&mut self, run: Option<RunId>, payload: &[u8]) -> rusqlite::Result<()> {
        let mut named: Vec<BlobRef> = Vec::new();
        aura_core::cbor::blob_references(payload, &mut named);
        for BlobRef { blob, .. } in named {
            let here: Option<i64> = self
                .conn
                .prepare_cached("SELECT 1 FROM blobs WHERE address = ?1")?
                .query_row([&blob.0[..]], |row| row.get(0))
                .optional()?;
            if here.is_none() && !blobs::path_of(self.blobs, blob).is_file() {
                self.fault(run, Code::BlobMissing, format!("blob {blob} is missing"));
            }
        }
        Ok(())
    }

    fn row(&mut self, number: i64, run: Option<RunId>, chain: &Chain) -> rusqlite::Result<()> {
        let events = chain.next - 1;
        // How far a run is that goes on, its row does not say.
        let sql = "SELECT CASE WHEN mark = 2 THEN events ELSE ?2 END
                   FROM runs WHERE number = ?1 AND status IS NOT NULL";
        let told: Option<i64> = self
            .conn
            .prepare_cached(sql)?
            .query_row((number, events.cast_signed()), |row| row.get(0))
            .optional()?;
        match told.map(i64::cast_unsigned) {
            Some(told) if told == events => {}
            Some(told) => {
                let message = format!("the row says {told} events, the log has {events}");
                self.fault(run, Code::StoreCorrupt, message);
            }
            None => {
                let message = "the log has events, but there is no row".to_owned();
                self.fault(run, Code::StoreCorrupt, message);
            }
        }
        Ok(())
    }

    fn table(&mut self) -> rusqlite::Result<()> {
        // One at a time: each may be large.
        let sql = "SELECT rowid, address, size, bytes FROM blobs WHERE rowid > ?1
                   ORDER BY rowid LIMIT 1";
        let mut after = i64::MIN;
        loop {
            let mut statement = self.conn.prepare_cached(sql)?;
            let found = statement.query_row([after], |row| {
                let address = Hash(row.get(1)?);
                Ok((row.get::<_, i64>(0)?, address, row.get(2)?, row.get::<_, Vec<u8>>(3)?))
            });
            let Some((rowid, address, size, packed)) = found.optional()? else { return Ok(()) };
            after = rowid;
            self.health.blobs += 1;
            if unpack_blob(self.salt, address, size, &packed).is_none() {
                let message = format!("blob {address} in the table is damaged");
                self.fault(None, Code::BlobCorrupt, message);
            }
        }
    }

    /// Files in the folders of blobs; those that are still being written have other names.
    fn files(&mut self) {
        let folders = match std::fs::read_dir(self.blobs) {
            Ok(folders) => folders,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
            Err(e) => return self.unreadable(self.blobs, &e),
        };
        for folder in folders {
            let entries = folder.and_then(|folder| std::fs::read_dir(folder.path()));
            match entries {
                Ok(entries) => {
                    for file in entries {
                        match file {
                            Ok(file) => self.file(&file.path()),
                            Err(e) => self.unreadable(self.blobs, &e),
                        }
                    }
                }
                Err(e) => self.unreadable(self.blobs, &e),
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(address) = blobs::address_of(name) else { return };
        self.health.blobs += 1;
        let most = pack::packed_bound(limits::BLOB_BYTES) as u64;
        let length = path.metadata().map_or(0, |metadata| metadata.len());
        let plain = if length > most {
            Err(std::io::ErrorKind::InvalidData.into())
        } else {
            std::fs::read(path).and_then(|packed| pack::unpack(&packed, limits::BLOB_BYTES))
        };
        if !plain.is_ok_and(|plain| blob_address(self.salt, &plain).blob == address) {
            self.fault(None, Code::BlobCorrupt, format!("blob {address} is damaged"));
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let message = format!("{} can't be read: {error}", path.display());
        self.fault(None, Code::StoreUnavailable, message);
    }
}

/// Where a walk along a run's chain stands.
struct Chain {
    /// `None` after a commit that can't be read: the next one is taken as it is.
    head: Option<Hash>,
    /// The event that must come next.
    next: u64,
    /// `seq` of the last row seen.
    after: i64,
}
