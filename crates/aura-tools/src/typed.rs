//! The bridge between typed tools and the untyped port: schemas from types, arguments into types, output out of them.
//!
//! It knows no tool.

use std::panic::{AssertUnwindSafe, catch_unwind};

use async_trait::async_trait;
use aura_core::ports::{Activity, Call, Failed};
use aura_core::task::Success;
use aura_core::tool::{ClassRule, ToolDef};
use aura_core::{Code, EffectClass, Failure};
use schemars::generate::{Contract, SchemaSettings};
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a tool says about itself, apart from its schemas.
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) help: &'static str,
    pub(crate) class: ClassRule,
    pub(crate) secret_params: &'static [&'static str],
    pub(crate) inline: bool,
}

impl About {
    /// A tool of one class, without secrets, performed off the shard's thread.
    pub(crate) fn new(
        name: &'static str,
        class: EffectClass,
        summary: &'static str,
        help: &'static str,
    ) -> Self {
        let class = ClassRule::Fixed(class);
        Self { name, summary, help, class, secret_params: &[], inline: false }
    }

    /// The same, done in microseconds whatever the arguments.
    pub(crate) fn inline(mut self) -> Self {
        self.inline = true;
        self
    }

    /// The definition with the schemas of input `I` and output `O`.
    pub(crate) fn define<I: JsonSchema, O: JsonSchema>(self) -> ToolDef {
        ToolDef {
            name: self.name.to_owned(),
            summary: self.summary.to_owned(),
            help: self.help.trim().to_owned(),
            class: self.class,
            input: schema_of::<I>(Contract::Deserialize),
            output: schema_of::<O>(Contract::Serialize),
            secret_params: self.secret_params.iter().map(|&name| name.to_owned()).collect(),
            inline: self.inline,
        }
    }
}

fn schema_of<T: JsonSchema>(contract: Contract) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        // Whoever walks a schema to check a reference then needs no `$ref`.
        s.inline_subschemas = true;
        s.contract = contract;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    // Names of Rust types and of Rust's integer widths mean nothing to a reader of the schema.
    let mut strip = RecursiveTransform(|schema: &mut Schema| {
        schema.remove("title");
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        if format.starts_with("uint") || format.starts_with("int") || format == "double" {
            schema.remove("format");
        }
    });
    strip.transform(&mut schema);
    schema.to_value()
}

/// The typed arguments of a call.
///
/// # Errors
/// `INVALID_INPUT`, certain: nothing was done.
pub(crate) fn parse<I: DeserializeOwned>(args: Value) -> Result<I, Failure> {
    if !args.is_object() {
        // A list of values would fit a struct as well, by position.
        return Err(Failure::certain(Code::InvalidInput, "the arguments are not an object"));
    }
    serde_json::from_value(args).map_err(|e| Failure::certain(Code::InvalidInput, e.to_string()))
}

/// The output of a typed tool as the port wants it.
///
/// # Errors
/// `INTERNAL`, in doubt, where a type has no JSON form; the types of this crate all have one.
pub(crate) fn output<O: Serialize>(output: &O) -> Result<Value, Failure> {
    serde_json::to_value(output).map_err(|e| Failure::in_doubt(Code::Internal, e.to_string()))
}

/// A tool that is a plain function of its arguments.
pub(crate) struct Pure<I, O> {
    def: ToolDef,
    run: fn(I) -> Result<O, Failure>,
}

impl<I, O> Pure<I, O> {
    pub(crate) fn new(def: ToolDef, run: fn(I) -> Result<O, Failure>) -> Self {
        Self { def, run }
    }
}

/// Parses, runs, and turns a panic of a library on odd input into a failure of this call alone.
fn run<I: DeserializeOwned, O: Serialize>(
    function: fn(I) -> Result<O, Failure>,
    args: Value,
) -> Result<Success, Failed> {
    let made = catch_unwind(AssertUnwindSafe(|| output(&function(parse(args)?)?)));
    match made {
        Ok(made) => Ok(Success::of(made?)),
        Err(_) => {
            Err(Failure::certain(Code::Internal, "the tool gave up on these arguments").into())
        }
    }
}

#[async_trait]
impl<I, O> Activity for Pure<I, O>
where
    I: DeserializeOwned + 'static,
    O: Serialize + 'static,
{
    fn def(&self) -> &ToolDef {
        &self.def
    }

    async fn perform(&self, call: Call) -> Result<Success, Failed> {
        let function = self.run;
        if self.def.inline {
            return run(function, call.args);
        }
        blocking(call.timeout, true, move || run(function, call.args)).await
    }
}

/// Runs work that blocks on a thread where it may, for at most `timeout`.
///
/// The thread can't be stopped; the work is bounded by limits of its own. `harmless` says whether work that goes on
/// after the timeout leaves no mark, which makes the timeout certain.
pub(crate) async fn blocking<F>(
    timeout: std::time::Duration,
    harmless: bool,
    work: F,
) -> Result<Success, Failed>
where
    F: FnOnce() -> Result<Success, Failed> + Send + 'static,
{
    let failure = |code, message: &str| Failure {
        code,
        message: message.to_owned(),
        certain: harmless,
        attempt: 0,
    };
    match tokio::time::timeout(timeout, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => {
            Err(failure(Code::Internal, "the tool stopped in the middle of its work").into())
        }
        Err(_) => Err(failure(Code::Timeout, "the tool was not done in time").into()),
    }
}

/// Tells an argument that is `null` from one that is absent; for `deserialize_with` beside `default`.
pub(crate) fn given<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Value>, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(Some)
}
