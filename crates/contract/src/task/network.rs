//! What a task may reach.

use std::net::IpAddr;

/// A task's own word on what can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// The mode.
    pub mode: NetworkMode,
    /// Hostnames, `*.suffix`, addresses and ranges, in lower case; empty unless the mode is
    /// [`NetworkMode::Allowlist`].
    pub allowed_hosts: Vec<String>,
}

/// `network_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkMode {
    /// `public`: everything.
    Public,
    /// `no-network`: nothing.
    NoNetwork,
    /// `allowlist`: the allowed hosts only.
    Allowlist,
}

/// Brings an entry of `allowed_hosts` into one form: lower case, no final dot, addresses shortest.
///
/// # Errors
/// Says what the entry is instead of a hostname, `*.suffix`, address or range.
pub(super) fn normalize_host(entry: &str) -> Result<String, String> {
    let host = entry.trim().to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    let refuse = |why: &str| {
        Err(format!("'{entry}' {why}; expected a hostname, '*.suffix', an IP address or a range"))
    };
    if host.is_empty() {
        return refuse("is empty");
    }
    if host.contains('/') {
        return match normalize_range(host) {
            Some(range) => Ok(range),
            None => refuse("is no address range (a range's address has no bits beyond its prefix)"),
        };
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if host.contains([':', '[', ']']) {
        return refuse("is a URL, has a port, or is no IPv6 address");
    }
    let name = match host.strip_prefix("*.") {
        Some(suffix) if suffix.parse::<IpAddr>().is_ok() => return refuse("puts '*.' before an address"),
        Some(suffix) => suffix,
        None if host.contains('*') => return refuse("has a '*' that is not a leading '*.'"),
        None => host,
    };
    if name.split('.').all(is_label) { Ok(host.to_owned()) } else { refuse("is no hostname") }
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn normalize_range(range: &str) -> Option<String> {
    let (address, prefix) = range.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    if !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let prefix: u32 = prefix.parse().ok()?;
    let (bits, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    if prefix > width {
        return None;
    }
    let beyond = match width - prefix {
        128 => u128::MAX,
        free => (1u128 << free) - 1,
    };
    (bits & beyond == 0).then(|| format!("{address}/{prefix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_into_one_form() {
        for (entry, expected) in [
            ("Mirror.Example.org.", "mirror.example.org"),
            ("*.Example.com", "*.example.com"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:0db8::0001", "2001:db8::1"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(normalize_host(entry).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for entry in [
            "",
            "  ",
            "https://mirror.example.org",
            "mirror.example.org:443",
            "a/b",
            "*",
            "a.*.b",
            "*.",
            "*.10.0.0.1",
            "a_b.c",
            "-a.b",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "[::1]",
            "fe80::1%eth0",
            "a..b",
            "10.0.0.0/+8",
        ] {
            assert!(normalize_host(entry).is_err(), "{entry:?}");
        }
    }
}
