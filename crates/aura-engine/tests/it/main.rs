//! Behaviour of the engine, seen from outside.

mod flows;
mod simulation;
