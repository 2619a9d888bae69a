//! Flow definitions: from the text of a file to a graph that decisions can walk.
//!
//! [`load`] is the way in. The text becomes a tree with places, the tree a draft, the draft gets its edges and is
//! checked, and a draft without mistakes becomes the model. Running a flow is no part of this.

mod approvals;
mod build;
mod bundle;
mod calls;
mod depth;
mod diagnostic;
mod draft;
mod edges;
#[expect(dead_code, reason = "only the schema that is derived from these types is used")]
mod file;
mod filters;
mod json;
mod jumps;
mod load;
mod model;
mod probes;
mod read;
mod references;
mod scalar;
mod schema;
mod scope;
mod shape;
mod suggest;
mod tree;
mod yaml;

pub(crate) use bundle::fits;
pub use bundle::{BundleError, Flows, place};
pub use diagnostic::{Diagnostic, Diagnostics};
pub use load::load;
pub use model::{
    Approval, Body, Branch, CALL, Case, Check, Child, Cost, Edge, Flow, Function, Heading, Kind,
    Loop, LoopMode, Map, Node, NodeCost, OnError, Probe, Route, Sleep, Tools, Verify, Via, Wait,
};
pub use schema::schema;
