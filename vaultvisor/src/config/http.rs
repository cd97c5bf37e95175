//! Where the daemon serves its status over HTTP, and for whom.

use std::net::SocketAddr;

use super::{
    Overrides,
    file::{Fields, Reader},
};

const EXPECTED: &str = "an IP address and a port, such as 127.0.0.1:9616";

/// An address to serve on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http {
    /// Where to listen. Loopback, unless others are allowed.
    pub address: SocketAddr,
    /// Whether others than this machine may read; then a proxy may ask under any host name, too.
    pub allow_remote: bool,
}

/// Reads `http`, before which `VAULTVISOR_HTTP` goes, and `http_allow_remote`.
pub(super) fn read(reader: &mut Reader, root: &Fields<'_>, overrides: &Overrides) -> Option<Http> {
    let allow_remote = root.get("http_allow_remote").and_then(|node| reader.boolean(node)).unwrap_or(false);
    // What the variable goes before must make sense all the same.
    let in_file = root.get("http").and_then(|node| {
        let address = reader.text(node).and_then(|text| address(reader, &node.path, text));
        address.filter(|address| is_allowed(reader, &node.path, *address, allow_remote))
    });
    let address = match &overrides.http {
        Some(text) => {
            let place = "VAULTVISOR_HTTP";
            let address = address(reader, place, &text.to_string_lossy())?;
            is_allowed(reader, place, address, allow_remote).then_some(address)
        }
        None => in_file,
    };
    address.map(|address| Http { address, allow_remote })
}

fn address(reader: &mut Reader, place: &str, text: &str) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        let found: String = text.chars().take(80).collect();
        reader.problem(place, format!("found {found:?}, expected {EXPECTED}"));
    }
    address
}

/// The status names accounts, process ids and problems: nobody else's business unless the operator says so.
fn is_allowed(reader: &mut Reader, place: &str, address: SocketAddr, allow_remote: bool) -> bool {
    let allowed = allow_remote || address.ip().is_loopback();
    if !allowed {
        let what = format!(
            "found {address}, which other machines can reach, expected a loopback address such as 127.0.0.1; \
             \"http_allow_remote\": true allows others"
        );
        reader.problem(place, what);
    }
    allowed
}
