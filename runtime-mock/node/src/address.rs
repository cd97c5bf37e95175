//! Where the node listens, read from multiaddresses.

use std::net::{IpAddr, SocketAddr};

use sc_network::{Multiaddr, multiaddr::Protocol, service::traits::NetworkService};

/// Where peers find the node: an address with its port and its identity, once it listens.
pub(crate) fn p2p_address(network: &dyn NetworkService) -> Option<Multiaddr> {
    let address = network
        .listen_addresses()
        .into_iter()
        .find(|address| socket_address(address).is_some_and(|socket| socket.port() != 0))?;
    // One of the SDK's two network backends says who it is, the other one doesn't.
    let is_named = address.iter().any(|part| matches!(part, Protocol::P2p(_)));
    Some(if is_named { address } else { address.with(Protocol::P2p(network.local_peer_id().into())) })
}

/// The IP address and TCP port at the start of `address`.
pub(crate) fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some((ip, port).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tcp_addresses_are_socket_addresses() {
        let cases = [
            ("/ip4/127.0.0.1/tcp/9944", Some("127.0.0.1:9944")),
            ("/ip4/127.0.0.1/tcp/9944/ws", Some("127.0.0.1:9944")),
            ("/ip6/::1/tcp/9944", Some("[::1]:9944")),
            ("/ip4/127.0.0.1/udp/9944", None),
            ("/ip4/127.0.0.1", None),
            ("/dns/localhost/tcp/9944", None),
        ];
        for (address, expected) in cases {
            let address: Multiaddr = address.parse().expect("a multiaddress");
            let expected = expected.map(|text| text.parse().expect("a socket address"));
            assert_eq!(socket_address(&address), expected, "{address}");
        }
    }
}
