//! The function that the flow runs: it prices an order, books the price, and keeps a receipt.

use std::time::Duration;

use aura_embed::{Aura, Ctx, Done, Failure, Problem, function};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The flow that runs it.
pub(crate) const FLOW: &str = include_str!("flow.yaml");

/// Variables of the flow that the function knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    quotes: u64,
}

/// What the node gives it.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    order: u64,
    shop: String,
}

/// What it gives back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Quote {
    /// Its id.
    pub(crate) id: String,
    /// The price.
    pub(crate) price: u64,
    /// When it was made.
    pub(crate) at: i64,
    /// SHA-256 of the receipt.
    pub(crate) receipt: String,
}

#[derive(Deserialize)]
struct Rate {
    price: u64,
}

/// Prices an order. Whatever it learns of the world, it asks `ctx` for, one thing after the other.
pub(crate) async fn quote(
    mut state: State,
    order: Order,
    mut ctx: Ctx,
) -> Result<Done<State, Quote>, Failure> {
    let at = ctx.now().await?.0;
    let id = ctx.uuid().await?;
    let answer =
        ctx.http(json!({ "url": format!("{}/rates/{}", order.shop, order.order) })).await?;
    let rate: Rate = serde_json::from_value(answer["json"].clone()).map_err(|e| {
        Failure::certain(aura_embed::ErrorCode::InvalidInput, format!("the shop's rate: {e}"))
    })?;
    // Up to ten percent off, the same however often this runs again.
    let off = ctx.random().await? * 0.1;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "prices are small"
    )]
    let price = (rate.price as f64 * (1.0 - off)).round() as u64;
    ctx.sleep(Duration::from_millis(20)).await?;
    let url = format!("{}/quotes/{id}", order.shop);
    ctx.http(json!({ "method": "PUT", "url": url, "json": { "price": price } })).await?;
    let path = format!("quote-{}.txt", order.order);
    ctx.write_artifact(&path, &format!("quote {id}: {price}\n")).await?;
    let text = ctx.read_artifact(&path).await?;
    let hash = ctx.tool("hash.sha256", json!({ "text": text })).await?;
    state.quotes += 1;
    let receipt = hash["sha256"].as_str().unwrap_or_default().to_owned();
    let done = Done::new(state, Quote { id, price, at, receipt });
    Ok(if price > 1_000 { done.next("large") } else { done })
}

/// Opens a data directory with the function, for files below `root` and a shop at `host`.
pub(crate) fn open(data: &str, root: &str, host: &str) -> Result<Aura, Problem> {
    Aura::builder(data).function(function("quote", quote)).root(root).allow_net(host).start()
}
