//! Flow definitions: from the text of a file to a graph that decisions can walk.

mod model;

pub use model::{
    Approval, Body, Branch, Case, Check, Edge, Flow, Kind, Loop, LoopMode, Map, Node, OnError,
    Route, Sleep, Tools, Verify, Via, Wait,
};
