//! Two runs of a store side by side: what they share, and where they part.

use std::collections::VecDeque;

use aura_core::commit::StoredCommit;
use aura_core::error::Problem;
use aura_core::id::RunId;
use aura_core::ports::Store;
use aura_graph::compare::{Comparison, Divergence, Side};

use crate::history::{fold_problem, store_problem};

/// Commits read from the store at a time.
const PAGE: usize = 256;

/// What two histories have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The last event that both have, byte for byte; 0 where they share none.
    pub shared: u64,
    /// The first fact in which they differ; absent where both did the same.
    pub divergence: Option<Divergence>,
}

/// Compares two runs of a store, page by page.
///
/// # Errors
/// A history can't be read.
pub fn compare(store: &dyn Store, left: RunId, right: RunId) -> Result<Compared, Problem> {
    let (mut left, mut right) = (Pages::of(store, left), Pages::of(store, right));
    let mut shared = 0;
    while let (Some(one), Some(other)) = (left.peek()?, right.peek()?)
        && one.hash == other.hash
    {
        shared = one.header.next_seq() - 1;
        left.next()?;
        right.next()?;
    }
    let mut comparison = Comparison::new();
    while !comparison.over() {
        let (one, other) = (left.next()?, right.next()?);
        if one.is_none() && other.is_none() {
            break;
        }
        for (side, commit) in [(Side::Left, one), (Side::Right, other)] {
            let Some(commit) = commit else { continue };
            let run = commit.header.run;
            let events = commit.events().map_err(|e| fold_problem(run, &e.into()))?;
            for (seq, event) in (commit.header.seq..).zip(&events) {
                comparison.take(side, seq, event);
            }
        }
    }
    Ok(Compared { shared, divergence: comparison.finish([true, true]) })
}

/// The commits of a run, one by one.
struct Pages<'a> {
    store: &'a dyn Store,
    run: RunId,
    from: u64,
    ended: bool,
    commits: VecDeque<StoredCommit>,
}

impl<'a> Pages<'a> {
    fn of(store: &'a dyn Store, run: RunId) -> Self {
        Self { store, run, from: 1, ended: false, commits: VecDeque::new() }
    }

    fn peek(&mut self) -> Result<Option<&StoredCommit>, Problem> {
        if self.commits.is_empty() && !self.ended {
            let page = self.store.read(self.run, self.from, PAGE).map_err(|e| store_problem(&e))?;
            self.ended = page.len() < PAGE;
            if let Some(last) = page.last() {
                self.from = last.header.next_seq();
            }
            self.commits.extend(page);
        }
        Ok(self.commits.front())
    }

    fn next(&mut self) -> Result<Option<StoredCommit>, Problem> {
        self.peek()?;
        Ok(self.commits.pop_front())
    }
}
