//! A program with Aura in it. Kill it at any moment and start it again: it goes on where it was.
//!
//!     cargo run -p aura-embed --example embedded -- DATA ROOT HOST:PORT ORDER
#![expect(clippy::print_stdout, reason = "it is a program for the command line")]

mod quote;

use anyhow::Context;
use aura_embed::{End, Start};
use serde_json::json;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| args.next().with_context(|| format!("{what} is missing"));
    let (data, root, host) = (next("DATA")?, next("ROOT")?, next("HOST:PORT")?);
    let order: u64 = next("ORDER")?.parse()?;
    let aura = quote::open(&data, &root, &host)?;
    // The key makes it one run for each order, however often the program starts.
    let input = json!({ "order": order, "shop": format!("http://{host}") });
    let start = Start::new(quote::FLOW, input).key(format!("order-{order}"));
    let run = aura.start(start)?;
    match aura.wait(run)? {
        End::Completed(output) => println!("{output:#}"),
        other => println!("run {run}: {other:?}"),
    }
    aura.close();
    Ok(())
}
