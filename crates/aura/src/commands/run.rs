//! `aura run`: starting a flow and seeing it through.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aura_core::error::{Code, Problem};
use aura_core::id::{RunId, TenantId};
use aura_core::limits;
use aura_core::schema::Schema;
use aura_core::task::Permissions;
use aura_graph::Flow;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::context::Context;
use crate::deployed::Deployed;
use crate::door::Door;
use crate::exit::Exit;
use crate::flowfiles::FlowFiles;
use crate::follow::End;
use crate::input::{self, Given};
use crate::order::Order;
use crate::performing::{Manner, Session, Shown};
use crate::socket::protocol::Taken;
use crate::{background, budget, deployed, diagnostics, flowfiles};

/// Arguments of `aura run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
On a terminal progress is drawn; piped, each fact is a line; with --json there is one document:
{run_id, status, output, error, duration_ms, …}. A run that waits for a person or a signal ends the
command with exit code 3 and prints what to type, also where the wait expires some day: that happens
when somebody resumes the run. On a terminal where you can answer, the command stays until then; with
--stay it stays in any case, so that the run goes on when another command answers. Ctrl-C leaves the
run where it is; 'aura resume' goes on with it.

Examples:
  aura run flow.yaml
  aura run refund.yaml --input '{\"order\": 17, \"amount\": 40}' --label team=pay
  aura run refund.yaml --input @order.json --set amount=40 --key refund-17 --json
  aura run brief.yaml --budget usd=0.50,duration=10m
  aura run brief.yaml --root ~/docs --allow-net localhost:8080
  aura run refund.yaml --stay > refund.log
  aura run brief.yaml --watch")]
pub(crate) struct Args {
    /// The flow file, or the name of a deployed flow.
    #[arg(value_name = "FLOW")]
    flow: PathBuf,
    /// The input: JSON, @FILE, or - for standard input.
    #[arg(long, value_name = "JSON|@FILE|-")]
    input: Option<String>,
    /// A field of the input; the value is JSON, or else text. Dots lead into objects.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    fields: Vec<String>,
    /// A name for this run: the same flow and key again is the same run.
    #[arg(long)]
    key: Option<String>,
    /// A label, to find the run by.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// A folder that the flow's files must lie in; otherwise the working directory.
    #[arg(long = "root", value_name = "DIR")]
    roots: Vec<PathBuf>,
    /// A loopback or private host that may be called.
    #[arg(long = "allow-net", value_name = "HOST[:PORT]")]
    allow_net: Vec<String>,
    /// What the run may use up at most, where the flow does not say less: usd=0.50,tokens=10000,steps=200,
    /// tool_calls=40,duration=1h, some or all of them. If one is tighter, nobody is asked for more of any.
    #[arg(long, value_name = "NAME=AMOUNT,…")]
    budget: Vec<String>,
    /// Hand the run to a process in the background, and print its id.
    #[arg(long, conflicts_with_all = ["yes", "stay"])]
    detach: bool,
    #[command(flatten)]
    manner: Manner,
    /// When the file is saved, fork the run where the flow first does something else, until Ctrl-C.
    #[arg(long, conflicts_with_all = ["detach", "key", "stay"])]
    watch: bool,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let (detach, manner) = (args.detach, args.manner);
    let watched = args.watch.then(|| args.flow.clone());
    let Some(order) = order(context, args)? else { return Ok(Exit::Usage) };
    if detach {
        return detached(context, &order);
    }
    let exit = see(context, &order, manner)?;
    match watched {
        Some(path) => super::watch::watch(context, &path, (order.run, order.source), manner),
        None => Ok(exit),
    }
}

/// Starts a run and follows it to its end.
fn see(context: &Context, order: &Order, manner: Manner) -> Result<Exit, Problem> {
    let session = Session::new(context, Door::open(context, true)?, manner)?;
    session.through(|session| {
        let taken = start(context, &mut session.door, order, false)?;
        if !context.out.json && !context.quiet && taken.accepted.already {
            let text = format!("the key names run {}, which was there before", order.run);
            context.out.note(text);
        }
        let shown = if taken.accepted.already { Shown::FromNow } else { Shown::FromTheStart };
        let (end, seen) = session.see(order.run, shown)?;
        let exit = session.tell(&seen)?;
        session.tell_of_others()?;
        Ok((exit, (end == End::Stopped).then_some(order.run)))
    })
}

/// Starts the run at whoever owns the store; an owner that leaves before it answers is followed by another.
fn start(
    context: &Context,
    door: &mut Door,
    order: &Order,
    detached: bool,
) -> Result<Taken, Problem> {
    loop {
        if let Some(taken) = door.start(order, detached)? {
            return Ok(taken);
        }
        *door = if detached { background::door(context)? } else { Door::open(context, true)? };
        // The answer may be what was lost, not the start.
        if crate::resolve::run(&*door.store(), &order.run.to_string()).is_ok()
            && let Some(taken) = door.perform(order.run, detached)?
        {
            return Ok(taken);
        }
    }
}

fn detached(context: &Context, order: &Order) -> Result<Exit, Problem> {
    let mut door = background::door(context)?;
    let taken = start(context, &mut door, order, true)?;
    if context.out.json {
        let accepted = taken.accepted;
        context.out.document(&json!({
            "run_id": order.run, "status": accepted.status, "already": accepted.already,
        }));
    } else {
        context.out.line(order.run);
    }
    Ok(Exit::Done)
}

/// What the command line asks for; `None` if the flow is wrong, which is told by then.
fn order(context: &Context, args: Args) -> Result<Option<Order>, Problem> {
    let opened = match by_name(context, &args.flow)? {
        Some(version) if !args.watch => flowfiles::of(&args.flow, version.source, version.files),
        _ => flowfiles::open(&args.flow),
    };
    let Some(opened) = diagnostics::opened(context, opened)? else { return Ok(None) };
    let FlowFiles { source, files, flows } = opened;
    let flow = &flows.main;
    let given = gather(flow, args.input.as_deref(), &args.fields)?;
    let run = match &args.key {
        Some(key) => {
            input::check_name("--key", key)?;
            RunId::keyed(TenantId::LOCAL, &flow.name, key)
        }
        None => RunId(Uuid::now_v7()),
    };
    Ok(Some(Order {
        run,
        source,
        files,
        input: given.value,
        wide: given.wide,
        key: args.key,
        labels: labels(&args.labels)?,
        budget: budget::parse(&args.budget)?,
        permissions: Permissions { roots: roots(&args.roots)?, allow_net: nets(args.allow_net)? },
        actor: context.actor.clone(),
    }))
}

/// The deployed flow of this name, where there is no such file.
fn by_name(context: &Context, name: &Path) -> Result<Option<Deployed>, Problem> {
    let Some(text) = name.to_str().filter(|_| !name.exists()) else { return Ok(None) };
    let found = deployed::last(&context.dir, text)?;
    if found.is_none() && name.extension().is_none() && name.components().count() == 1 {
        let what = format!("there is no file {text}, and no flow of that name is deployed");
        return Err(Problem::new(Code::Usage, what)
            .kept("nothing was started")
            .next("aura flows, or name a flow file"));
    }
    Ok(found)
}

/// The input, checked against what the flow says of it.
fn gather(flow: &Flow, json: Option<&str>, fields: &[String]) -> Result<Given, Problem> {
    let mut given = match json {
        Some(text) => input::json("--input", text)?,
        None => Given::default(),
    };
    for field in fields {
        input::set(&mut given, field)?;
    }
    if given.value.is_null() && json.is_none() {
        given.value = Value::Object(Map::new());
    }
    input::check_size("the input", &given.value)?;
    let Some(schema) = &flow.input else { return Ok(given) };
    let schema = Schema::compile(schema).map_err(|why| {
        Problem::new(Code::FlowInvalid, format!("the input schema of the flow is none: {why}"))
    })?;
    let violations = schema.violations(&given.value);
    if violations.is_empty() {
        return Ok(given);
    }
    let lines: Vec<_> = violations.iter().map(|violation| format!("\n  {violation}")).collect();
    let what = format!("the input does not fit flow '{}':{}", flow.name, lines.concat());
    Err(Problem::new(Code::InvalidInput, what)
        .kept("nothing was started")
        .next("give fields with --set FIELD=VALUE, or all of it with --input JSON"))
}

pub(crate) fn labels(given: &[String]) -> Result<BTreeMap<String, String>, Problem> {
    let mut labels = BTreeMap::new();
    for label in given {
        let Some((key, value)) = label.split_once('=') else {
            let what = format!("--label '{label}' has no key and value");
            return Err(Problem::new(Code::Usage, what).next("--label KEY=VALUE"));
        };
        input::check_name("the key of a label", key)?;
        if value.len() > limits::NAME_BYTES {
            let what =
                format!("the value of label '{key}' has more than {} bytes", limits::NAME_BYTES);
            return Err(Problem::new(Code::Usage, what));
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    if labels.len() > limits::LABELS {
        let what = format!("{} labels; a run takes at most {}", labels.len(), limits::LABELS);
        return Err(Problem::new(Code::LimitExceeded, what));
    }
    Ok(labels)
}

/// Hosts that may be called; one that is none would allow nothing, and nobody would know why.
fn nets(given: Vec<String>) -> Result<Vec<String>, Problem> {
    if let Some(wrong) = given.iter().find(|entry| !aura_tools::is_net_entry(entry)) {
        let what = format!("--allow-net '{wrong}' is not a host, or a host and a port");
        return Err(Problem::new(Code::Usage, what)
            .kept("nothing was started")
            .next("--allow-net localhost:8080, --allow-net 10.0.0.7 or --allow-net [::1]:8080"));
    }
    Ok(given)
}

/// Absolute folders, since whoever performs the run may stand elsewhere.
fn roots(given: &[PathBuf]) -> Result<Vec<String>, Problem> {
    let here = [PathBuf::from(".")];
    let given = if given.is_empty() { &here[..] } else { given };
    let mut roots = Vec::new();
    for root in given {
        let shown = root.display();
        let failed = |why: String| {
            Problem::new(Code::Usage, format!("--root {shown}: {why}"))
                .next("name a folder that is there")
        };
        let path = root.canonicalize().map_err(|e| failed(e.to_string()))?;
        if !path.is_dir() {
            return Err(failed("it is not a folder".to_owned()));
        }
        let text = path.to_str().ok_or_else(|| failed("its name is not text".to_owned()))?;
        roots.push(text.to_owned());
    }
    Ok(roots)
}
