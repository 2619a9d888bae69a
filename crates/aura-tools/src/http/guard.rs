//! Which addresses may be called.
//!
//! The check is made on addresses, after names are resolved, and only checked addresses are connected to; so a name
//! that resolves to something else a moment later gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;

/// How far an address is from the public network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Anybody may call it.
    Public,
    /// This machine, its networks, and ranges without a public meaning: only where the operator allows the host.
    Local,
    /// Link-local addresses and those that hand out credentials of the machine: never.
    Never,
}

/// Names of the services that hand out credentials of the machine; refused before they are looked up.
const METADATA_NAMES: [&str; 5] = [
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
];

/// Addresses of such services outside the link-local range: Alibaba, Oracle, Azure.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// Ranges of IPv4 that are local, private, reserved or for many receivers, as address and length of the prefix.
const LOCAL_V4: [(Ipv4Addr, u32); 14] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Ranges within 2000::/3, where public addresses are, that are not public.
const LOCAL_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

pub(super) fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => reach_v6(ip),
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    if ip.is_link_local() || METADATA_V4.contains(&ip) {
        return Reach::Never;
    }
    let bits = ip.to_bits();
    let local = LOCAL_V4.iter().any(|(range, prefix)| {
        let shift = 32 - prefix;
        bits >> shift == range.to_bits() >> shift
    });
    if local { Reach::Local } else { Reach::Public }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    let link_local = ip.segments()[0] & 0xffc0 == 0xfe80;
    if link_local || METADATA_V6.contains(&ip) {
        return Reach::Never;
    }
    let within = |range: &Ipv6Addr, prefix: u32| {
        let shift = 128 - prefix;
        ip.to_bits() >> shift == range.to_bits() >> shift
    };
    // A translator on the way would turn these into the IPv4 address within.
    if let Some(inner) = embedded(ip) {
        // Teredo has no public service any more.
        let least =
            if within(&LOCAL_V6[0].0, LOCAL_V6[0].1) { Reach::Local } else { Reach::Public };
        return reach_v4(inner).max(least);
    }
    let global = within(&Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    if !global || LOCAL_V6.iter().any(|(range, prefix)| within(range, *prefix)) {
        return Reach::Local;
    }
    Reach::Public
}

/// The IPv4 address within an IPv6 address, in the forms that carry one.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        // ::1 and :: are no IPv4 addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // IPv4-mapped, IPv4-compatible, IPv4-translated, and NAT64 with the well-known and the local-use prefix.
        [0, 0, 0, 0, 0, 0xffff | 0, a, b]
        | [0, 0, 0, 0, 0xffff, 0, a, b]
        | [0x64, 0xff9b, 0, 0, 0, 0, a, b]
        | [0x64, 0xff9b, 1, _, _, _, a, b]
        // 6to4.
        | [0x2002, a, b, ..] => Some(v4(a, b)),
        // Teredo: the client's address stands inverted at the end.
        [0x2001, 0, _, _, _, _, a, b] => Some(v4(!a, !b)),
        _ => None,
    }
}

/// Whether the name belongs to a service that hands out credentials of the machine.
pub(super) fn is_metadata_name(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    METADATA_NAMES.iter().any(|name| host.eq_ignore_ascii_case(name))
}

/// Whether the operator allows a host, as it stands in the URL, though it may be local.
///
/// An entry is `HOST` or `HOST:PORT`; an IPv6 address stands in brackets where a port follows.
pub(super) fn is_allowed(allow_net: &[String], host: &Host<&str>, port: u16) -> bool {
    let wanted = normal(&host.to_string());
    allow_net.iter().any(|entry| {
        let (name, only) = split_port(entry.trim());
        only.is_none_or(|only| only == Ok(port)) && wanted.is_some() && normal(name) == wanted
    })
}

/// Whether an entry of a list of allowed hosts can allow anything: a host, and a port if it has one.
pub fn is_net_entry(entry: &str) -> bool {
    let (name, only) = split_port(entry.trim());
    !name.contains('*') && normal(name).is_some() && only.is_none_or(|only| only.is_ok())
}

/// Host and port of an entry; a port that is none allows nothing.
fn split_port(entry: &str) -> (&str, Option<Result<u16, ()>>) {
    if entry.parse::<Ipv6Addr>().is_ok() {
        return (entry, None);
    }
    match entry.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port.parse().map_err(|_| ()))),
        _ => (entry, None),
    }
}

/// One spelling per host, the one that URLs are brought into.
fn normal(host: &str) -> Option<Host> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<Ipv6Addr>() {
        return Some(Host::Ipv6(ip));
    }
    match Host::parse(host).ok()? {
        Host::Domain(name) => Some(Host::Domain(name.trim_end_matches('.').to_ascii_lowercase())),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn addresses_have_their_reach() {
        let cases = [
            (
                Reach::Public,
                "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.167.1.1 223.255.255.255 198.17.0.1 198.20.0.0",
            ),
            (
                Reach::Public,
                "2606:4700:4700::1111 2a00:1450::1 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1 2001:200::1",
            ),
            (
                Reach::Local,
                "127.0.0.1 127.255.255.255 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1",
            ),
            (
                Reach::Local,
                "100.64.0.1 100.127.255.255 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 192.0.0.1",
            ),
            (Reach::Local, "192.0.2.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9"),
            (
                Reach::Local,
                ":: ::1 fc00::1 fdff::1 ff02::1 fec0::1 2001:db8::1 100::1 4000::1 3fff::1 2001:2::1",
            ),
            (
                Reach::Local,
                "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 ::10.0.0.1 64:ff9b::7f00:1 64:ff9b::a00:1",
            ),
            (
                Reach::Local,
                "64:ff9b:1::7f00:1 2002:7f00:1::1 2002:a00:1:: ::ffff:0:127.0.0.1 2001:0:1::80ff:fffe",
            ),
            (
                Reach::Never,
                "169.254.0.0 169.254.169.254 169.254.255.255 fe80::1 febf::1 fd00:ec2::254 fd20:ce::254",
            ),
            (
                Reach::Never,
                "::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: ::169.254.169.254",
            ),
            (
                Reach::Never,
                "100.100.100.200 192.0.0.192 168.63.129.16 64:ff9b:1::a9fe:a9fe 2001:0:1::5601:5601",
            ),
        ];
        for (expected, addresses) in cases {
            for address in addresses.split(' ') {
                assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
            }
        }
    }

    #[test]
    fn entries_allow_hosts_as_written() {
        let cases = [
            ("localhost", "http://localhost:8080/", true),
            ("LOCALHOST", "http://localhost./", true),
            ("localhost", "http://127.0.0.1/", false),
            ("localhost", "http://localhost.evil.test/", false),
            ("localhost:80", "http://localhost/", true),
            ("localhost:443", "https://localhost/", true),
            ("localhost:80", "http://localhost:81/", false),
            ("localhost:x", "http://localhost/", false),
            ("localhost:", "http://localhost/", false),
            ("127.0.0.1:9", "http://2130706433:9/", true),
            ("127.0.0.1", "http://127.1/", true),
            ("::1", "http://[::1]:8080/", true),
            ("[::1]", "http://[0:0::1]/", true),
            ("[::1]:80", "http://[::1]/", true),
            ("[::1]:80", "http://[::1]:81/", false),
            ("", "http://localhost/", false),
            ("*", "http://localhost/", false),
            (" shop.local ", "http://shop.local/", true),
        ];
        for (entry, url, expected) in cases {
            let url = Url::parse(url).unwrap();
            let port = url.port_or_known_default().unwrap();
            let allowed = is_allowed(&[entry.to_owned()], &url.host().unwrap(), port);
            assert_eq!(allowed, expected, "{entry} {url}");
        }
    }

    #[test]
    fn metadata_names_are_known_in_any_spelling() {
        assert!(is_metadata_name("Metadata.Google.Internal."));
        assert!(!is_metadata_name("metadata.google.internal.example.com"));
    }
}
