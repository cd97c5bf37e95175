//! Tells a service manager how far we are: systemd's `Type=notify`, which is one datagram a message.
//!
//! Nothing depends on it: without `NOTIFY_SOCKET`, or with one that does not listen, nothing is said.

use std::os::{
    linux::net::SocketAddrExt,
    unix::{
        ffi::OsStrExt,
        net::{SocketAddr, UnixDatagram},
    },
};

/// Supervision has begun, or goes on after the configuration was read again.
pub(super) fn ready() {
    send("READY=1");
}

/// The configuration is being read again.
pub(super) fn reloading() {
    let micros = crate::process::monotonic_ns() / 1000;
    send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}

/// The vaults are being stopped, or left running.
pub(super) fn stopping() {
    send("STOPPING=1");
}

fn send(message: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return };
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&name),
    };
    let sent = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold up a vault.
        socket.set_nonblocking(true)?;
        socket.send_to_addr(message.as_bytes(), &address)
    });
    if let Err(error) = sent {
        tracing::debug!(%error, "cannot tell the service manager {message:?}");
    }
}
