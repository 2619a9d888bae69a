//! `aura completions`: completions for a shell.

use aura_core::error::Problem;
use clap::CommandFactory;

use crate::cli::Cli;
use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aura completions bash > ~/.local/share/bash-completion/completions/aura
  aura completions zsh > ~/.zfunc/_aura
  aura completions fish > ~/.config/fish/completions/aura.fish")]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Does it.
#[expect(clippy::unnecessary_wraps, reason = "the form of every command")]
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "aura", &mut script);
    context.out.write(String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}
