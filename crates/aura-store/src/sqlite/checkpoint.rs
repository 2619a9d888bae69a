//! Moving the write-ahead log into the file.
//!
//! A thread does it while the writer goes on. If the log becomes very long all the same, the writer waits once for
//! the whole of it, so that it starts again from its beginning; it is never cut while the store is open, because
//! writing over an existing file is cheaper to sync than growing one.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aura_core::error::{Code, Problem};
use rusqlite::Connection;

use super::{PAGE_BYTES, Verdict, connect};
use crate::fault::{self, Consequence, broken};

/// Growth of the log after which the thread is woken.
const PASSIVE_PAGES: u32 = (4 << 20) / PAGE_BYTES;

/// Length of the log at which the writer waits for the whole of it.
const RESTART_PAGES: u32 = (64 << 20) / PAGE_BYTES;

/// Further growth after which the writer tries again where a reader kept the log from starting anew.
const RESTART_AGAIN_PAGES: u32 = RESTART_PAGES / 4;

/// How long the writer waits for readers before it goes on with a longer log.
const READERS_WAIT: Duration = Duration::from_millis(200);

pub(super) struct Checkpointer {
    /// Length of the log in pages after the last commit, told by SQLite.
    pages: Arc<AtomicU32>,
    woken_at: u32,
    restart_at: u32,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Held by whoever checkpoints: a second one would be turned away at once instead of waiting.
    turn: Arc<Mutex<()>>,
    verdict: Verdict,
}

impl Checkpointer {
    /// Starts the thread and makes `writer` report the length of its log.
    pub(super) fn start(
        writer: &mut Connection,
        file: &Path,
        verdict: &Verdict,
    ) -> Result<Self, Problem> {
        let pages = Arc::new(AtomicU32::new(0));
        let reported = Arc::clone(&pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            reported.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        };
        writer.wal_hook(Some(hook)).map_err(|e| fault::of_open(file, &e))?;
        let conn = connect::writing(file).map_err(|e| fault::of_open(file, &e))?;
        let turn = Arc::new(Mutex::new(()));
        let (wake, woken) = sync_channel(1);
        let work = {
            let (turn, verdict) = (Arc::clone(&turn), Verdict::clone(verdict));
            move || run(&conn, &woken, &turn, &verdict)
        };
        let thread = std::thread::Builder::new()
            .name("aura-checkpoint".to_owned())
            .spawn(work)
            .map_err(|e| fault::of_io(file, &e))?;
        Ok(Self {
            pages,
            woken_at: 0,
            restart_at: RESTART_PAGES,
            wake: Some(wake),
            thread: Some(thread),
            turn,
            verdict: Verdict::clone(verdict),
        })
    }

    /// After a commit: wakes the thread if the log has grown enough.
    pub(super) fn written(&mut self) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.woken_at {
            self.woken_at = 0;
            self.restart_at = RESTART_PAGES;
        }
        if pages - self.woken_at >= PASSIVE_PAGES {
            self.woken_at = pages;
            // A full channel means that the thread has been woken already.
            let _ = self.wake.as_ref().map(|wake| wake.try_send(()));
        }
    }

    /// Before a group: if the log is very long, moves all of it, so that it starts anew.
    pub(super) fn make_room(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.restart_at {
            return;
        }
        self.restart_at = pages.saturating_add(RESTART_AGAIN_PAGES);
        self.with_turn(writer, "RESTART");
    }

    /// When the store is closed: moves everything, and cuts the log if nobody else reads it.
    pub(super) fn last(&self, writer: &Connection) {
        self.with_turn(writer, "TRUNCATE");
    }

    fn with_turn(&self, writer: &Connection, mode: &str) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = writer.busy_timeout(READERS_WAIT);
        judge(waits.and_then(|()| checkpoint(writer, mode)), &self.verdict);
        let _ = writer.busy_timeout(connect::LOCK_WAIT);
    }

    /// Ends the thread, after the checkpoint that it may be in.
    pub(super) fn stop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has nothing to tell that matters any more.
            let _ = thread.join();
        }
    }
}

fn run(conn: &Connection, woken: &Receiver<()>, turn: &Mutex<()>, verdict: &Verdict) {
    while woken.recv().is_ok() && verdict.get().is_none() {
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        judge(checkpoint(conn, "PASSIVE"), verdict);
    }
}

fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<()> {
    // What it could not move because somebody reads is moved the next time.
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}

/// A checkpoint that can't be made now is made later; one that failed to sync must not be tried again, because
/// the system may have dropped what it could not write.
fn judge(result: rusqlite::Result<()>, verdict: &Verdict) {
    let Err(error) = result else { return };
    let (code, consequence) = fault::classify(&error);
    if consequence == Consequence::Reopen && code != Code::ChainBroken {
        let message = format!("the write-ahead log could not be moved into the file: {error}");
        verdict.get_or_init(|| broken(code, message));
    }
}
