//! One HTTP request per call, with what is certain about it.
//!
//! What leaves doubt is decided here and nowhere else: an error before a byte of the request left is certain; every
//! other error, and every 5xx, is not. Nothing is ever sent again, except that reads follow redirects.

mod answer;
mod guard;
mod network;
mod plan;
mod redirect;

use aura_core::ports::{Call, Failed};
use aura_core::task::Success;
use aura_core::{Code, Failure, limits};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

pub(crate) use answer::Output;
pub use guard::is_net_entry;
pub(crate) use network::Network;
pub use network::{Lookup, SystemLookup};
use plan::Hop;
pub(crate) use plan::{Input, Plan};

/// Makes a request, follows redirects if it is a read, and reads the answer.
pub(crate) async fn perform(network: &Network, plan: Plan, call: &Call) -> Result<Success, Failed> {
    let deadline = Instant::now() + call.timeout;
    let mut hop = plan.first_hop();
    for _ in 0..=limits::HTTP_REDIRECTS {
        let response = send(network, &hop, call, deadline).await?;
        match redirect::next(&plan, &hop, &response)? {
            Some(next) => hop = next,
            None => return answer::read(&plan, &hop, response, (deadline, &call.heart)).await,
        }
    }
    let what = format!("more than {} redirects", limits::HTTP_REDIRECTS);
    Err(Failure::certain(Code::LimitExceeded, what).into())
}

async fn send(
    network: &Network,
    hop: &Hop,
    call: &Call,
    deadline: Instant,
) -> Result<Response, Failed> {
    let client = network.client(&hop.url, &call.permissions, deadline).await?;
    let mut request =
        client.request(hop.method.clone(), hop.url.clone()).headers(hop.headers.clone());
    if let Some(body) = &hop.body {
        request = request.body(body.clone());
    }
    let request = request.build().map_err(|e| sending(hop, e))?;
    let Ok(sent) = timeout_at(deadline, client.execute(request)).await else {
        let what = format!("{} {} was not answered in time", hop.method, hop.shown());
        return Err(Failure::in_doubt(Code::Timeout, what).into());
    };
    Ok(sent.map_err(|e| sending(hop, e))?)
}

/// What an error before the answer means.
fn sending(hop: &Hop, error: reqwest::Error) -> Failure {
    let (timeout, connect, builder) = (error.is_timeout(), error.is_connect(), error.is_builder());
    let code = match (builder, timeout) {
        (true, _) => Code::InvalidInput,
        (false, true) => Code::Timeout,
        (false, false) => Code::NetworkError,
    };
    // The address may carry a secret, and it is told once already.
    let why = chain(&error.without_url());
    let what = format!("{} {}: {why}", hop.method, hop.shown());
    if connect || builder { Failure::certain(code, what) } else { Failure::in_doubt(code, what) }
}

/// An error with its causes, each told once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
