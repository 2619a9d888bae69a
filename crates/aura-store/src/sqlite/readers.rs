//! The connections that read: a few, each used by one caller at a time.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use aura_core::ports::StoreError;
use rusqlite::Connection;

use super::connect;
use crate::fault;

/// Reads at once; more wait.
const CONNECTIONS: usize = 8;

pub(super) struct Readers {
    file: PathBuf,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    busy: usize,
}

impl Readers {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, state: Mutex::default(), freed: Condvar::new() }
    }

    /// Runs `work` on a connection that nobody else uses meanwhile. A connection that met an error is not used
    /// again.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut slot = Slot { readers: self, conn: self.take() };
        let conn = match slot.conn.take() {
            Some(conn) => conn,
            None => connect::reader(&self.file)
                .map_err(|e| fault::of_sqlite("the store can't be read", &e))?,
        };
        let result = work(&conn);
        if result.is_ok() {
            slot.conn = Some(conn);
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Connection> {
        let mut state = self
            .freed
            .wait_while(self.state(), |state| state.busy >= CONNECTIONS)
            .unwrap_or_else(PoisonError::into_inner);
        state.busy += 1;
        state.idle.pop()
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("file", &self.file).finish_non_exhaustive()
    }
}

/// One of the places; given back even if its user panics.
struct Slot<'a> {
    readers: &'a Readers,
    conn: Option<Connection>,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.readers.state();
        state.busy -= 1;
        state.idle.extend(self.conn.take());
        drop(state);
        self.readers.freed.notify_one();
    }
}
