//! Identifiers: UUIDs outside, never store-local numbers.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::hash::Hash;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        // The order of the bytes, as two numbers: ids are keys of maps that every step looks into.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.as_u128().cmp(&other.0.as_u128())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// One execution of a flow; also the id of its stream in the log.
    RunId
}
uuid_id! {
    /// The owner of runs. A store that nobody divided has exactly [`TenantId::LOCAL`].
    TenantId
}

impl TenantId {
    /// The tenant of a store used by one person or team without tenants.
    pub const LOCAL: Self = Self(Uuid::nil());
}

impl RunId {
    /// The id of a keyed run: a UUIDv8 of SHA-256(tenant, flow, key), so that the same key always names the same run.
    pub fn keyed(tenant: TenantId, flow: &str, key: &str) -> Self {
        Self::derived(Hash::of_parts(&[tenant.0.as_bytes(), flow.as_bytes(), key.as_bytes()]))
    }

    /// The id that follows from a hash: its first 16 bytes as a UUIDv8.
    pub fn derived(hash: Hash) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.0[..16]);
        Self(Uuid::new_v8(bytes))
    }
}
