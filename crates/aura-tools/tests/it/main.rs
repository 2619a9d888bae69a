//! The built-in tools, called as the engine calls them, against real servers on loopback and real folders.
#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod files;
mod guard;
mod http;
mod pdf;
mod redirects;
mod schemas;
mod server;
mod support;
mod tls;
