//! What the light client may do with the machine: time, randomness, tasks, TCP and logging, by tokio.
//!
//! The library brings a platform of its own, with a thread for each core and a second async runtime whose reactor
//! outlives it. Ours spawns into the runtime that it is called in, so that whoever ends that runtime ends all of it.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    future::{Pending, Ready, pending, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::future::{BoxFuture, Either};
use smoldot::libp2p::{
    websocket,
    with_buffers::{ReadWriteAccess, WithBuffers},
};
use smoldot_light::platform::{
    Address, ConnectionType, LogLevel, MultiStreamAddress, MultiStreamWebRtcConnection, PlatformRef,
    SubstreamDirection,
};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

/// The machine. Must only be used inside of a tokio runtime.
#[derive(Debug, Clone, Copy)]
pub(super) struct Platform;

/// A connection to a peer, plain or inside of a websocket.
type Socket = Either<Compat<TcpStream>, websocket::Connection<Compat<TcpStream>>>;

/// A connection, possibly still being made, with what was read from it and what is to be written.
type Stream = Pin<Box<WithBuffers<BoxFuture<'static, io::Result<Socket>>, Socket, Instant>>>;

impl PlatformRef for Platform {
    type Delay = tokio::time::Sleep;
    type Instant = Instant;
    type MultiStream = std::convert::Infallible;
    type Stream = Stream;
    type ReadWriteAccess<'a> = ReadWriteAccess<'a, Instant>;
    type StreamErrorRef<'a> = &'a io::Error;
    type StreamConnectFuture = Ready<Stream>;
    type MultiStreamConnectFuture = Pending<MultiStreamWebRtcConnection<Self::MultiStream>>;
    type StreamUpdateFuture<'a> = BoxFuture<'a, ()>;
    type NextSubstreamFuture<'a> = Pending<Option<(Stream, SubstreamDirection)>>;

    fn now_from_unix_epoch(&self) -> Duration {
        // A clock from before 1970 is as wrong as one of 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn fill_random_bytes(&self, buffer: &mut [u8]) {
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(buffer).expect("the kernel's source of randomness cannot fail once the system is up");
    }

    fn sleep(&self, duration: Duration) -> Self::Delay {
        tokio::time::sleep(duration)
    }

    fn sleep_until(&self, when: Instant) -> Self::Delay {
        tokio::time::sleep_until(when.into())
    }

    fn spawn_task(&self, _name: Cow<'_, str>, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    /// The light client's own errors are for operators, the rest is for those who look for something.
    fn log<'a>(
        &self,
        level: LogLevel,
        target: &'a str,
        message: &'a str,
        values: impl Iterator<Item = (&'a str, &'a dyn fmt::Display)>,
    ) {
        match level {
            LogLevel::Error => tracing::warn!("light client: {target}: {}", line(message, values)),
            LogLevel::Warn | LogLevel::Info if tracing::enabled!(tracing::Level::DEBUG) => {
                tracing::debug!("light client: {target}: {}", line(message, values));
            }
            LogLevel::Debug if tracing::enabled!(tracing::Level::TRACE) => {
                tracing::trace!("light client: {target}: {}", line(message, values));
            }
            _ => {}
        }
    }

    fn client_name(&self) -> Cow<'_, str> {
        Cow::Borrowed(env!("CARGO_PKG_NAME"))
    }

    fn client_version(&self) -> Cow<'_, str> {
        Cow::Borrowed(env!("CARGO_PKG_VERSION"))
    }

    fn supports_connection_type(&self, kind: ConnectionType) -> bool {
        is_supported(kind)
    }

    fn connect_stream(&self, address: Address<'_>) -> Self::StreamConnectFuture {
        ready(Box::pin(WithBuffers::new(connect(&address))))
    }

    fn connect_multistream(&self, _address: MultiStreamAddress<'_>) -> Self::MultiStreamConnectFuture {
        pending()
    }

    fn open_out_substream(&self, connection: &mut Self::MultiStream) {
        match *connection {}
    }

    fn next_substream<'a>(&self, connection: &'a mut Self::MultiStream) -> Self::NextSubstreamFuture<'a> {
        match *connection {}
    }

    fn read_write_access<'a>(
        &self,
        stream: Pin<&'a mut Stream>,
    ) -> Result<Self::ReadWriteAccess<'a>, &'a io::Error> {
        stream.get_mut().as_mut().read_write_access(Instant::now())
    }

    fn wait_read_write_again<'a>(&self, stream: Pin<&'a mut Stream>) -> Self::StreamUpdateFuture<'a> {
        let stream = stream.get_mut().as_mut();
        Box::pin(stream.wait_read_write_again(|when| tokio::time::sleep_until(when.into())))
    }
}

/// Whether peers can be reached in that way: TCP and plain websockets. What is said over either is encrypted and
/// authenticated by the peers' own protocol.
pub(super) fn is_supported(kind: ConnectionType) -> bool {
    match kind {
        ConnectionType::TcpIpv4
        | ConnectionType::TcpIpv6
        | ConnectionType::TcpDns
        | ConnectionType::WebSocketIpv4 { .. }
        | ConnectionType::WebSocketIpv6 { .. } => true,
        ConnectionType::WebSocketDns { secure, .. } => !secure,
        ConnectionType::WebRtcIpv4 | ConnectionType::WebRtcIpv6 => false,
    }
}

/// Connects; how long that may take is the light client's own business.
fn connect(address: &Address<'_>) -> BoxFuture<'static, io::Result<Socket>> {
    let (host, port, is_websocket) = match address {
        Address::TcpDns { hostname, port } => ((*hostname).to_owned(), *port, false),
        Address::WebSocketDns { hostname, port, .. } => ((*hostname).to_owned(), *port, true),
        Address::TcpIp { ip, port } => (ip.to_string(), *port, false),
        Address::WebSocketIp { ip, port } => (ip.to_string(), *port, true),
    };
    Box::pin(async move {
        let tcp = TcpStream::connect((host.as_str(), port)).await?;
        tcp.set_nodelay(true)?;
        let tcp_socket = tcp.compat();
        if !is_websocket {
            return Ok(Either::Left(tcp_socket));
        }
        // Colons are part of an IPv6 address and of nothing else that gets here.
        let authority = match host.parse() {
            Ok(ip) => SocketAddr::new(ip, port).to_string(),
            Err(_) => format!("{host}:{port}"),
        };
        let config = websocket::Config { tcp_socket, host: &authority, url: "/" };
        websocket::websocket_client_handshake(config).await.map(Either::Right)
    })
}

/// One line, whatever peers had to say.
fn line<'a>(message: &str, values: impl Iterator<Item = (&'a str, &'a dyn fmt::Display)>) -> String {
    let mut line = message.to_owned();
    for (name, value) in values {
        // Writing to a string cannot fail.
        let _ = write!(line, " {name}={value}");
    }
    line.replace(char::is_control, " ")
}
