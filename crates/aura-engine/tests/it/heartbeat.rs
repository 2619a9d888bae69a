//! What a performer makes of the heartbeats of an activity.

use std::sync::Arc;

use async_trait::async_trait;
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure};
use aura_core::ports::{Activity, Call, Failed, Secrets};
use aura_core::task::{OnUnknown, Retry, Success, Task, TaskSpec};
use aura_core::tool::{ClassRule, ToolDef};
use aura_core::{Data, Hash, RunId, StepPath};
use aura_engine::{Catalog, Message, Performer, TokioPerformer};
use aura_testkit::model_blobs::ModelBlobs;
use aura_testkit::model_store::ModelStore;
use serde_json::{Value, json};

/// Beats as often as it can from where the one before stopped, and fails.
struct Counter(ToolDef);

#[async_trait]
impl Activity for Counter {
    fn def(&self) -> &ToolDef {
        &self.0
    }

    async fn perform(&self, call: Call) -> Result<Success, Failed> {
        let from = call.last_details["at"].as_u64().unwrap_or_default();
        for at in from..from + 1_000 {
            call.heart.beat(json!({ "at": at + 1 }));
        }
        if call.args["stays"] == json!(true) {
            std::future::pending::<()>().await;
        }
        if call.args["long"] == json!(true) {
            call.heart.beat(json!("x".repeat(100_000)));
        }
        Err(Failure::certain(Code::Unavailable, "that was all").into())
    }
}

struct NoSecrets;

impl Secrets for NoSecrets {
    fn get(&self, _name: &str) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// The messages of one attempt.
fn attempt(heartbeat_ms: Option<u64>, args: Value, details: Option<Data>) -> Vec<Message> {
    let stays = args["stays"] == json!(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let def = ToolDef {
        name: "count".to_owned(),
        summary: "counts".to_owned(),
        help: String::new(),
        class: ClassRule::Fixed(EffectClass::Read),
        input: json!({}),
        output: json!({}),
        secret_params: Vec::new(),
        inline: false,
    };
    let catalog = Catalog::new([Arc::new(Counter(def)) as Arc<dyn Activity>]);
    let (shard, messages) = crossbeam_channel::unbounded();
    let blobs = Arc::new(ModelBlobs::new(Arc::new(ModelStore::default())));
    let secrets = Arc::new(NoSecrets);
    let mut performer =
        TokioPerformer::new(runtime.handle().clone(), catalog, secrets, blobs, shard);
    let spec = TaskSpec {
        tool: "count".to_owned(),
        definition: Hash::ZERO,
        class: EffectClass::Read,
        args: Data::from(args),
        secrets: Vec::new(),
        call: Hash::ZERO,
        key: Hash::ZERO,
        timeout_ms: 60_000,
        retry: Retry::default(),
        on_unknown: OnUnknown::default(),
        key_ttl_ms: None,
        heartbeat_ms,
        probe: None,
        idempotency: None,
        cost: None,
    };
    let task = Task {
        run: RunId(uuid::Uuid::nil()),
        step: StepPath::from("a"),
        attempt: 1,
        recovery: 0,
        spec: Arc::new(spec),
        details,
        permissions: Arc::default(),
        journal: None,
    };
    assert!(performer.perform(task).is_none());
    let mut told = Vec::new();
    while !told.iter().any(|message| ends(message, stays)) {
        runtime.block_on(tokio::task::yield_now());
        told.extend(messages.try_iter());
    }
    told
}

/// Whether nothing more is awaited: of a call that stays, its first sign of life is all there is.
fn ends(message: &Message, stays: bool) -> bool {
    match message {
        Message::Heartbeat { .. } => stays,
        _ => matches!(message, Message::Outcome { .. }),
    }
}

fn beats(told: &[Message]) -> Vec<Value> {
    let beat = |message: &Message| match message {
        Message::Heartbeat { beat, .. } => beat.details.as_json().cloned(),
        _ => None,
    };
    told.iter().filter_map(beat).collect()
}

#[test]
fn of_a_thousand_beats_the_last_is_told_and_hardly_more() {
    let told = beats(&attempt(Some(5_000), json!({}), None));
    assert!(told.len() <= 2, "{told:?}");
    assert_eq!(told.last(), Some(&json!({ "at": 1_000 })));
}

#[test]
fn an_attempt_is_told_how_far_the_one_before_had_come() {
    let told = beats(&attempt(Some(5_000), json!({}), Some(json!({ "at": 1_000 }).into())));
    assert_eq!(told.last(), Some(&json!({ "at": 2_000 })));
}

#[test]
fn what_is_too_long_is_not_told_and_without_a_heartbeat_nothing_is() {
    let told = beats(&attempt(Some(5_000), json!({ "long": true }), None));
    assert_eq!(told.last().map(|told| &told["truncated"]), Some(&json!(true)));
    assert!(beats(&attempt(None, json!({}), None)).is_empty());
}

#[test]
fn what_is_told_is_heard_while_the_call_goes_on() {
    let told = beats(&attempt(Some(5_000), json!({ "stays": true }), None));
    assert_eq!(told, [json!({ "at": 1_000 })]);
}
