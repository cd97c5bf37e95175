//! Whose requests are answered by a server that only this machine should reach.
//!
//! A page of any site can have its own name resolve to 127.0.0.1 and then read, in a browser on this machine, what is
//! served there (DNS rebinding). The browser says which name was asked for, so only names that nobody else can give away
//! are answered: `localhost` and loopback addresses, with any port, for a tunnel may come from another one.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::{HeaderMap, Request, StatusCode, Uri, Version, header};

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostRefusal {
    /// It does not say whom it is meant for.
    #[error("found no Host header, or more than one, expected one")]
    NotOne,
    /// It is meant for somebody else.
    #[error(
        "found the host {found:?}, expected localhost or a loopback address; \"http_allow_remote\": true in the \
         configuration allows others"
    )]
    Foreign {
        /// For whom.
        found: String,
    },
}

impl HostRefusal {
    /// The status that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotOne => StatusCode::BAD_REQUEST,
            Self::Foreign { .. } => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

/// Whether a request is meant for this machine.
pub fn check<B>(request: &Request<B>) -> Result<(), HostRefusal> {
    check_parts(request.uri(), request.version(), request.headers())
}

fn check_parts(uri: &Uri, version: Version, headers: &HeaderMap) -> Result<(), HostRefusal> {
    if let Some(authority) = uri.authority() {
        check_host(authority.as_str())?;
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => check_host(&String::from_utf8_lossy(host.as_bytes())),
        // No browser asks like this; old probes do.
        (None, None) if version < Version::HTTP_11 => Ok(()),
        _ => Err(HostRefusal::NotOne),
    }
}

fn check_host(found: &str) -> Result<(), HostRefusal> {
    let uri = found.parse::<Uri>().ok();
    // Only an authority, and without a user's name before it.
    let host = uri.as_ref().filter(|uri| uri.path().is_empty() && !found.contains('@')).and_then(Uri::host);
    if host.is_some_and(is_loopback) {
        return Ok(());
    }
    Err(HostRefusal::Foreign { found: found.chars().take(80).collect() })
}

fn is_loopback(host: &str) -> bool {
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || in_brackets.and_then(|host| host.parse::<Ipv6Addr>().ok()).is_some_and(|host| host.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_with(hosts: &[&str], version: Version) -> Result<(), HostRefusal> {
        let mut request = Request::builder().uri("/").version(version);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        check(&request.body(()).expect("a request"))
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in
            ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9616", "127.9.9.9", "[::1]", "[::1]:80"]
        {
            assert_eq!(asked_with(&[host], Version::HTTP_11), Ok(()), "{host}");
        }
        for host in [
            "example.org",
            "example.org:9616",
            "127.0.0.1.example.org",
            "localhost.example.org",
            "127.0.0.1@example.org",
            "example.org@127.0.0.1",
            "192.0.2.1",
            "0.0.0.0",
            "[::]",
            "[::ffff:7f00:1]",
            "http://127.0.0.1/",
            "127.0.0.1/x",
            "127.0.0.1 ",
            "",
            "\u{fe}",
        ] {
            let refused = asked_with(&[host], Version::HTTP_11);
            assert!(matches!(refused, Err(HostRefusal::Foreign { .. })), "{host:?}: {refused:?}");
        }
    }

    #[test]
    fn a_request_says_once_whom_it_is_meant_for() {
        assert_eq!(asked_with(&[], Version::HTTP_11), Err(HostRefusal::NotOne));
        assert_eq!(asked_with(&["localhost", "localhost"], Version::HTTP_11), Err(HostRefusal::NotOne));
        assert_eq!(asked_with(&[], Version::HTTP_10), Ok(()));
        let absolute = |uri: &str| {
            let request = Request::builder().uri(uri).header(header::HOST, "localhost");
            check(&request.body(()).expect("a request"))
        };
        assert_eq!(absolute("http://127.0.0.1:9616/"), Ok(()));
        assert!(absolute("http://example.org/").is_err());
    }
}
