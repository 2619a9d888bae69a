//! Functions that take another way than before, that are not there, and that end badly.

use std::time::Duration;

use aura_embed::{Aura, Code, Ctx, Done, End, ErrorCode, Failure, Replayed, RunId, function};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

const FLOW: &str = r"
flow: changed
nodes:
  - { id: work, code: work, tools: [echo], with: {} }
";

type Ended = Result<Done<Value, Value>, Failure>;

async fn before(state: Value, _: Value, mut ctx: Ctx) -> Ended {
    ctx.now().await?;
    ctx.tool("echo", json!({ "value": 1 })).await?;
    ctx.sleep(Duration::from_hours(1)).await?;
    Ok(Done::new(state, json!("done")))
}

async fn other_arguments(state: Value, _: Value, mut ctx: Ctx) -> Ended {
    ctx.now().await?;
    ctx.tool("echo", json!({ "value": 2 })).await?;
    Ok(Done::new(state, json!("done")))
}

async fn ends_early(state: Value, _: Value, mut ctx: Ctx) -> Ended {
    ctx.now().await?;
    Ok(Done::new(state, json!("done")))
}

/// Swallows what it is told, and would end well.
async fn deaf(state: Value, _: Value, mut ctx: Ctx) -> Ended {
    let _ = ctx.random().await;
    let _ = ctx.uuid().await;
    Ok(Done::new(state, json!("done")))
}

fn open(folder: &TempDir, code: Option<Arc<dyn Code>>) -> Aura {
    let builder = Aura::builder(folder.path().join("data"));
    let builder = code.into_iter().fold(builder, aura_embed::Builder::function);
    builder.start().unwrap()
}

fn failure(aura: &Aura, run: RunId) -> Failure {
    match aura.wait(run).unwrap() {
        End::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// A run whose function waits in its third call.
fn waiting(folder: &TempDir) -> RunId {
    let aura = open(folder, Some(function("work", before)));
    let run = aura.run(FLOW, json!({})).unwrap();
    while aura.runs().unwrap()[0].status != aura_embed::RunStatus::Waiting {
        std::thread::yield_now();
    }
    assert!(aura.close(), "a function that waits does not hold its process back");
    run
}

#[test]
fn another_call_than_the_recorded_one_fails_and_shows_both() {
    let changed: [(Arc<dyn Code>, &str, &str); 3] = [
        (function("work", other_arguments), "tool echo {\"value\":1}", "tool echo {\"value\":2}"),
        (function("work", ends_early), "tool echo {\"value\":1}", "nothing, the function ended"),
        (function("work", deaf), "now", "random"),
    ];
    for (code, recorded, attempted) in changed {
        let folder = TempDir::new().unwrap();
        let run = waiting(&folder);
        let aura = open(&folder, Some(code));
        aura.resume(run).unwrap();
        let failure = failure(&aura, run);
        assert_eq!((failure.code, failure.attempt), (ErrorCode::NonDeterminism, 1));
        let message = failure.message;
        assert!(message.contains(&format!("recorded:  {recorded}\n")), "{message}");
        assert!(message.ends_with(&format!("attempted: {attempted}")), "{message}");
        assert!(aura.close());
    }
}

#[test]
fn a_replay_with_a_changed_function_differs() {
    async fn short(state: Value, _: Value, mut ctx: Ctx) -> Ended {
        let at = ctx.now().await?.0;
        Ok(Done::new(state, json!(at)))
    }
    async fn longer(state: Value, input: Value, mut ctx: Ctx) -> Ended {
        ctx.now().await?;
        ctx.random().await?;
        short(state, input, ctx).await
    }
    async fn otherwise(state: Value, _: Value, mut ctx: Ctx) -> Ended {
        ctx.now().await?;
        Ok(Done::new(state, json!("otherwise")))
    }
    let folder = TempDir::new().unwrap();
    let aura = open(&folder, Some(function("work", short)));
    let run = aura.run(FLOW, json!({})).unwrap();
    assert!(matches!(aura.wait(run).unwrap(), End::Completed(_)));
    assert_eq!(aura.replay(run, "work").unwrap(), Replayed::Matches(1));
    assert_eq!(aura.replay(run, "nowhere").unwrap_err().code, ErrorCode::NotFound);
    aura.close();
    let changed: [(Arc<dyn Code>, &str); 2] = [
        (function("work", longer), "recorded:  nothing\n  attempted: random"),
        (function("work", otherwise), "ends otherwise"),
    ];
    for (code, shows) in changed {
        let aura = open(&folder, Some(code));
        match aura.replay(run, "work").unwrap() {
            Replayed::Differs(failure) => assert!(failure.message.contains(shows), "{failure}"),
            Replayed::Matches(_) => panic!("it matches"),
        }
        aura.close();
    }
}

#[test]
fn a_run_waits_for_a_program_that_has_its_function() {
    let folder = TempDir::new().unwrap();
    let run = waiting(&folder);
    let aura = open(&folder, None);
    let events = aura.runs().unwrap()[0].events;
    assert_eq!(aura.resume(run).unwrap_err().code, ErrorCode::FunctionMissing);
    assert_eq!(aura.run(FLOW, json!({})).unwrap_err().code, ErrorCode::FunctionMissing);
    let rows = aura.runs().unwrap();
    assert_eq!((rows.len(), rows[0].events), (1, events), "nothing happened");
    aura.cancel(run).unwrap();
    assert_eq!(aura.wait(run).unwrap(), End::Cancelled);
    aura.close();
}

#[test]
fn a_function_that_ends_badly_fails_its_step_alone() {
    async fn panics(_: Value, _: Value, _: Ctx) -> Ended {
        panic!("as it must")
    }
    async fn fails(_: Value, _: Value, mut ctx: Ctx) -> Ended {
        let error = ctx.tool("http.request", json!({ "url": "http://a.test" })).await.unwrap_err();
        Err(Failure::certain(ErrorCode::Conflict, error.code.as_str()))
    }
    async fn leaves(state: Value, _: Value, mut ctx: Ctx) -> Ended {
        let pause = ctx.sleep(Duration::from_millis(200));
        let _ = tokio::time::timeout(Duration::from_millis(20), pause).await;
        Ok(Done::new(state, json!("too soon")))
    }
    async fn unfit(state: u64, _: Value, _: Ctx) -> Result<Done<u64, Value>, Failure> {
        Ok(Done::new(state, Value::Null))
    }
    let cases: [(Arc<dyn Code>, ErrorCode, &str); 4] = [
        (function("work", panics), ErrorCode::Internal, "panicked"),
        (function("work", fails), ErrorCode::Conflict, "FORBIDDEN"),
        (function("work", leaves), ErrorCode::NonDeterminism, "left call 1 (sleep 200 ms)"),
        (function("work", unfit), ErrorCode::InvalidInput, "the variables do not fit"),
    ];
    for (code, expected, shows) in cases {
        let folder = TempDir::new().unwrap();
        let aura = open(&folder, Some(code));
        let run = aura.run(FLOW, json!({})).unwrap();
        let failure = failure(&aura, run);
        assert_eq!(failure.code, expected, "{failure}");
        assert!(failure.message.contains(shows), "{failure}");
        assert!(aura.close());
    }
}

#[test]
fn signals_and_approvals_come_from_the_program_too() {
    let flow = r"
flow: people
nodes:
  - { id: go, wait: { signal: go } }
  - { id: ask, approval: { message: May it? } }
output: $steps.go.output
";
    let folder = TempDir::new().unwrap();
    let aura = open(&folder, None);
    let run = aura.run(flow, json!({})).unwrap();
    assert!(matches!(aura.wait(run).unwrap(), End::Waiting(_)));
    aura.signal(run, "go", json!({ "n": 1 })).unwrap();
    assert!(matches!(aura.wait(run).unwrap(), End::Waiting(_)));
    aura.approve(run, "ask").unwrap();
    assert_eq!(aura.wait(run).unwrap(), End::Completed(json!({ "n": 1 })));
    assert_eq!(aura.deny(run, "ask").unwrap_err().code, ErrorCode::RunClosed);
    aura.close();
}

#[test]
fn waiting_for_a_run_follows_the_one_that_goes_on_in_its_place() {
    let flow = r#"
flow: countdown
input: { type: object, properties: { from: { type: integer } } }
vars: { left: "{{ input.from | default(3) }}" }
nodes:
  - id: again
    when: "{{ vars.left > 0 }}"
    continue: { input: { from: "{{ vars.left - 1 }}" } }
output: "{{ vars.left }} left"
"#;
    let folder = TempDir::new().unwrap();
    let aura = open(&folder, None);
    let run = aura.run(flow, json!({})).unwrap();
    assert_eq!(aura.wait(run).unwrap(), End::Completed(json!("0 left")));
    aura.close();
}
