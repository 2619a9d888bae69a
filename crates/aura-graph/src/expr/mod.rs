//! The one expression language: compiling texts and values of a flow file, and evaluating them lazily.
//!
//! A text that is one whole `{{ expression }}`, or a short reference such as `$input.order`, keeps the type of its
//! value; any other text with `{{ }}` or `{% %}` renders to text. Nothing here sees a clock or a random number.

mod compile;
mod context;
mod eval;
mod json;

pub use compile::{CompileError, Expr, Part, Reference, Template};
pub use context::{BlobLookup, Context, Names};
pub use eval::{EvalError, Rendered};
