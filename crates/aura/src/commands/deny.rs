//! `aura deny`: saying no to an approval.

use aura_core::error::Problem;
use aura_core::input::ApprovalVerdict;

use super::approve;
pub(crate) use super::approve::Args;
use crate::context::Context;
use crate::exit::Exit;

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    approve::answer(context, args, ApprovalVerdict::Denied)
}
