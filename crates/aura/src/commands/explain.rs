//! `aura explain`: the page of an error code.

use aura_core::error::{Code, Problem};
use serde_json::json;

use crate::context::Context;
use crate::exit::Exit;
use crate::output::Tone;
use crate::{pages, suggest};

/// Arguments of `aura explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every error names its code in brackets, such as error[STORE_OWNED]. A page says what happened, what
was kept and what to do. Upper or lower case does not matter.

Examples:
  aura explain IN_DOUBT
  aura explain")]
pub(crate) struct Args {
    /// The code, such as STORE_OWNED; without it, a list of all codes.
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let Some(typed) = args.code else {
        list(context);
        return Ok(Exit::Done);
    };
    let code: Code = typed.parse().map_err(|_| unknown(&typed))?;
    let page = pages::of(code);
    if context.out.json {
        context.out.document(&json!({ "code": code, "title": page.title, "text": page.text }));
    } else {
        context.out.write(pages::show(page, |tone, text| context.out.paint(tone, text)));
    }
    Ok(Exit::Done)
}

fn list(context: &Context) {
    if context.out.json {
        let pages =
            Code::ALL.iter().map(|code| json!({ "code": code, "title": pages::of(*code).title }));
        context.out.document(&json!({ "codes": pages.collect::<Vec<_>>() }));
        return;
    }
    for code in Code::ALL {
        let name = context.out.paint(Tone::Strong, format_args!("{:<20}", code.as_str()));
        context.out.line(format_args!("{name} {}", pages::of(*code).title));
    }
}

fn unknown(typed: &str) -> Problem {
    let names = Code::ALL.iter().map(|code| code.as_str());
    let next = match suggest::nearest(&typed.replace('-', "_"), names) {
        Some(near) => format!("did you mean {near}? aura explain {near}"),
        None => "aura explain (lists all codes)".to_owned(),
    };
    Problem::new(Code::Usage, format!("no error has the code '{typed}'")).next(next)
}
