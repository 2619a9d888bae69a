//! Where a step stands in its run.
//!
//! A path is a list of segments `id[#visit][[key]]` joined by `/`: `sections[3]/check#2` is the second visit of
//! `check` in item 3 of the map `sections`. The key names a body: an item of a map, an iteration of a loop, a
//! branch of a parallel, a case (`0`, `1`, …, `else`) of a switch. A path whose last segment has a key names the
//! body itself.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a compensation's path adds to that of its step.
const COMPENSATION: &str = "/compensate";

/// The path of a step, or of a body within a step; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepPath(Arc<str>);

/// One segment of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The node's id.
    pub id: &'a str,
    /// Its visit, from 1.
    pub visit: u32,
    /// The body within it, if the path goes on or ends there.
    pub key: Option<&'a str>,
}

impl<'a> Segment<'a> {
    fn of(text: &'a str) -> Self {
        let (head, key) = match text.split_once('[') {
            Some((head, rest)) => (head, Some(rest.trim_end_matches(']'))),
            None => (text, None),
        };
        let (id, visit) = match head.split_once('#') {
            Some((id, visit)) => (id, visit.parse().unwrap_or(1)),
            None => (head, 1),
        };
        Self { id, visit, key }
    }
}

impl StepPath {
    /// The path of the flow's own body.
    pub fn root() -> Self {
        Self(Arc::default())
    }

    /// The text of the path; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the flow's own body.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of a visit of node `id` in the body that this path names.
    pub fn node(&self, id: &str, visit: u32) -> Self {
        let slash = if self.0.is_empty() { "" } else { "/" };
        if visit <= 1 && slash.is_empty() {
            Self(id.into())
        } else if visit <= 1 {
            Self(format!("{}{slash}{id}", self.0).into())
        } else {
            Self(format!("{}{slash}{id}#{visit}", self.0).into())
        }
    }

    /// The path of the body `key` of the step that this path names.
    pub fn body(&self, key: impl fmt::Display) -> Self {
        Self(format!("{}[{key}]", self.0).into())
    }

    /// The path of what stands at `inner` in the body that this path names.
    pub fn within(&self, inner: &Self) -> Self {
        let slash = if self.0.is_empty() || inner.0.is_empty() { "" } else { "/" };
        Self(format!("{}{slash}{}", self.0, inner.0).into())
    }

    /// Whether the path names a body (its last segment has a key), or the root.
    pub fn is_body(&self) -> bool {
        self.0.is_empty() || self.0.ends_with(']')
    }

    /// For a body: the step that it belongs to. For a step: the body that it stands in. `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        if self.is_body() {
            let open = self.0.rfind('[')?;
            return Some(Self(self.0[..open].into()));
        }
        match self.0.rfind('/') {
            Some(at) => Some(Self(self.0[..at].into())),
            None => Some(Self::root()),
        }
    }

    /// The path of the compensation of the step that this path names.
    pub fn compensation(&self) -> Self {
        Self(format!("{}{COMPENSATION}", self.0).into())
    }

    /// For the path of a compensation: the step that it undoes. (A node of this name stands in a body, whose path
    /// ends with its key.)
    pub fn compensates(&self) -> Option<Self> {
        let step = self.0.strip_suffix(COMPENSATION)?;
        (!step.is_empty() && !step.ends_with(']')).then(|| Self(step.into()))
    }

    /// The segments, outermost first; none for the root.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.0.split('/').filter(|s| !s.is_empty()).map(Segment::of)
    }

    /// The last segment; `None` for the root.
    pub fn last(&self) -> Option<Segment<'_>> {
        self.0.rsplit('/').find(|s| !s.is_empty()).map(Segment::of)
    }

    /// Whether `other` is this path or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        match other.0.strip_prefix(&*self.0) {
            Some(rest) => {
                self.0.is_empty()
                    || rest.is_empty()
                    || rest.starts_with('/')
                    || rest.starts_with('[')
            }
            None => false,
        }
    }
}

impl From<&str> for StepPath {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}
