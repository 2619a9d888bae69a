//! The way to the store for whoever writes: as its owner, or through the one who owns it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::ports::{Blobs, Compacted, Compaction, Store};
use aura_store::{Access, Opened};

use crate::context::Context;
use crate::order::{ForkOrder, Order};
use crate::owner::Owner;
use crate::socket::client::{Client, Told};
use crate::socket::protocol::{Ask, Request, Taken};

/// How long a process that owns the store without listening is awaited: it starts, does one thing, or drains.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

/// How often the store is read where no bell rings.
const POLL: Duration = Duration::from_millis(50);

/// The way to the store.
pub(crate) enum Door {
    /// This process owns it.
    Own(Box<Owner>),
    /// Another process does.
    Ask(Box<Asking>),
}

/// A connection to the owner, and the store to read from.
pub(crate) struct Asking {
    client: Client,
    opened: Opened,
}

/// How a run fares at whoever performs it.
pub(crate) enum Look {
    /// Nothing keeps it from going on.
    Well,
    /// This does.
    Trouble(Problem),
    /// The owner left.
    Gone,
}

impl Door {
    /// Becomes the owner, or connects to the one there is. With `serve` an owner listens to others.
    pub(crate) fn open(context: &Context, serve: bool) -> Result<Self, Problem> {
        let begun = Instant::now();
        loop {
            let owned = match Owner::start(context, serve) {
                Ok(owner) => return Ok(Self::Own(Box::new(owner))),
                Err(problem) if problem.code == Code::StoreOwned => problem,
                Err(problem) => return Err(problem),
            };
            if let Some(asking) = Self::connect(context)? {
                return Ok(asking);
            }
            if begun.elapsed() > PATIENCE {
                return Err(owned);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Connects to the owner, if one listens.
    pub(crate) fn connect(context: &Context) -> Result<Option<Self>, Problem> {
        let Some(socket) = aura_store::owner(&context.dir).and_then(|owner| owner.socket) else {
            return Ok(None);
        };
        let Some(mut client) = Client::connect(&socket) else { return Ok(None) };
        match client.ask(&Request::Ping) {
            Told::Here => {}
            _ => return Ok(None),
        }
        let opened = aura_store::open(&context.dir, Access::Reader)?;
        Ok(Some(Self::Ask(Box::new(Asking { client, opened }))))
    }

    fn opened(&self) -> &Opened {
        match self {
            Self::Own(owner) => owner.opened(),
            Self::Ask(asking) => &asking.opened,
        }
    }

    /// The store, for reading.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.opened().store) as _
    }

    /// Large values.
    pub(crate) fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::clone(&self.opened().blobs) as _
    }

    /// Whether this process owns the store.
    pub(crate) fn owns(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Starts a run that whoever owns the store performs; `None` if the owner left.
    pub(crate) fn start(
        &mut self,
        order: &Order,
        detached: bool,
    ) -> Result<Option<Taken>, Problem> {
        match self {
            Self::Own(owner) => owner.desk().start(order.clone(), detached).map(Some),
            Self::Ask(asking) => {
                asking.tell(&Request::Start { order: Box::new(order.clone()), detached })
            }
        }
    }

    /// Forks a run; whoever owns the store performs the fork. `None` if the owner left.
    pub(crate) fn fork(
        &mut self,
        order: &ForkOrder,
        detached: bool,
    ) -> Result<Option<Taken>, Problem> {
        match self {
            Self::Own(owner) => owner.desk().fork(order.clone(), detached).map(Some),
            Self::Ask(asking) => {
                asking.tell(&Request::Fork { order: Box::new(order.clone()), detached })
            }
        }
    }

    /// Performs a run that exists; `None` if the owner left.
    pub(crate) fn perform(&mut self, run: RunId, detached: bool) -> Result<Option<Taken>, Problem> {
        match self {
            Self::Own(owner) => owner.desk().perform(run, detached).map(Some),
            Self::Ask(asking) => asking.tell(&Request::Perform { run, detached }),
        }
    }

    /// Hands in an input; `None` if the owner left.
    pub(crate) fn input(&mut self, run: RunId, ask: &Ask) -> Result<Option<Taken>, Problem> {
        match self {
            Self::Own(owner) => owner.desk().input(run, ask.clone()).map(Some),
            Self::Ask(asking) => asking.tell(&Request::Input { run, ask: ask.clone() }),
        }
    }

    /// Removes what is not wanted any more; `None` if the owner left.
    pub(crate) fn compact(&mut self, asked: &Compaction) -> Result<Option<Compacted>, Problem> {
        match self {
            Self::Own(owner) => owner.desk().compact(asked).map(Some),
            Self::Ask(asking) => {
                match asking.client.ask(&Request::Compact { asked: Box::new(asked.clone()) }) {
                    Told::Compacted(done) => Ok(Some(done)),
                    Told::Refused(problem) => Err(problem),
                    Told::Gone => Ok(None),
                    Told::Here | Told::Done(_) => Err(another()),
                }
            }
        }
    }

    /// What keeps a run from going on, if anything does.
    pub(crate) fn look(&mut self, run: RunId) -> Look {
        match self {
            Self::Own(owner) => owner.desk().trouble(run).map_or(Look::Well, Look::Trouble),
            Self::Ask(asking) => match asking.client.ask(&Request::Look { run }) {
                Told::Here | Told::Done(_) | Told::Compacted(_) => Look::Well,
                Told::Refused(problem) => Look::Trouble(problem),
                Told::Gone => Look::Gone,
            },
        }
    }

    /// Waits for news, at most for `patience`; gives back the bell's count.
    pub(crate) fn wait(&self, seen: u64, patience: Duration) -> u64 {
        match self {
            Self::Own(owner) => owner.handle().bell().wait(seen, patience),
            Self::Ask(_) => {
                std::thread::sleep(patience.min(POLL));
                seen
            }
        }
    }
}

impl Asking {
    fn tell(&mut self, request: &Request) -> Result<Option<Taken>, Problem> {
        match self.client.ask(request) {
            Told::Done(taken) => Ok(Some(taken)),
            Told::Refused(problem) => Err(problem),
            Told::Gone => Ok(None),
            Told::Here | Told::Compacted(_) => Err(another()),
        }
    }
}

fn another() -> Problem {
    Problem::new(Code::Internal, "the owner answered something else")
}
