//! A node that does not do what it should: a websocket JSON-RPC proxy in front of a real one, or of none.
//!
//! It passes everything on until a test says otherwise, in which it can be changed at any time, also for the
//! connections that are open:
//!
//! - methods are hidden, as old nodes and public endpoints do ([`RpcProxy::hide`], [`RpcProxy::in_front_of_old`]);
//! - answers come late, never, as garbage, or as 100 MB ([`RpcProxy::answer`]);
//! - connections are cut, refused, or stay open and silent ([`RpcProxy::cut`], [`RpcProxy::refuse`],
//!   [`RpcProxy::mute`]);
//! - storage values are replaced or hidden, which is a lie ([`RpcProxy::lie`]);
//! - finality stands still, or an older block is served as the last one ([`RpcProxy::freeze`]);
//! - another chain is behind the same address ([`RpcProxy::switch_to`]).
//!
//! What was asked is written down, so that a test can say what was *not*.

mod relay;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{interval, sleep},
};
use tokio_tungstenite::{accept_async, connect_async, tungstenite::Message};

use self::relay::{Relay, Step};

/// What modern nodes serve and the live bridges' do not.
pub const MODERN_METHODS: [&str; 2] = ["chainHead_v1_", "archive_v1_"];

/// Many blocks' worth of answers.
const WAITING_MESSAGES: usize = 4096;

/// What is answered to a request in place of what the node says.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// That there is no such method; `rpc_methods` does not name it either.
    Hidden,
    /// Nothing, ever; the connection stays open.
    Never,
    /// What the node says, this much later.
    Late(Duration),
    /// A message that is no JSON.
    Garbage,
    /// So many bytes of text.
    Huge(usize),
    /// This result.
    Result(Value),
    /// This error, after the node was asked other things in its place, and has answered them.
    Error {
        /// Their methods, with their parameters; `None` for those of the request.
        after: Vec<(String, Option<Value>)>,
        /// The error.
        error: Value,
    },
}

/// The block that is served as the last finalized one.
#[derive(Debug, Clone)]
struct Frozen {
    hash: String,
    header: Value,
}

/// What the proxy does now.
#[derive(Debug, Clone, Default)]
struct Behaviour {
    /// By the beginning of the method's name, and by something that the parameters hold; the newest first.
    answers: Vec<(String, String, Answer)>,
    /// Values in place of those in the chain's storage, by key, with `0x`; `None` hides what is there.
    lies: Vec<(String, Option<String>)>,
    frozen: Option<Frozen>,
    mute: bool,
    refuse: bool,
    /// Whether the node is an old one, which it stays whatever else it does.
    is_old: bool,
    upstream: Option<String>,
}

impl Behaviour {
    fn answer_to(&self, method: &str, params: &Value) -> Option<&Answer> {
        // A modern node's own account of its blocks cannot be changed from outside; an old node's can.
        let looks_old = self.is_old || self.frozen.is_some();
        if looks_old && MODERN_METHODS.iter().any(|name| method.starts_with(name)) {
            return Some(&Answer::Hidden);
        }
        let matches = |(name, part, _): &&(String, String, Answer)| {
            method.starts_with(name.as_str())
                && (part.is_empty() || params.to_string().contains(part.as_str()))
        };
        self.answers.iter().rev().find(matches).map(|(_, _, answer)| answer)
    }

    fn hides(&self, method: &str) -> bool {
        self.answer_to(method, &Value::Null) == Some(&Answer::Hidden)
    }
}

#[derive(Debug)]
struct Shared {
    behaviour: Mutex<Behaviour>,
    asked: Mutex<Vec<String>>,
    connections: watch::Sender<usize>,
    /// Counts the cuts: whoever sees it change ends.
    cuts: watch::Sender<u64>,
}

impl Shared {
    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, Vec<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy. Dropped: it takes no further connections, and those that are open end.
#[derive(Debug)]
pub struct RpcProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
    cutting: Option<JoinHandle<()>>,
}

impl RpcProxy {
    /// In front of the node at this address; changes nothing yet.
    pub async fn in_front_of(node: &str) -> Self {
        Self::start(Some(node.to_owned())).await
    }

    /// In front of a node that looks like an old one from here: the legacy methods only.
    pub async fn in_front_of_old(node: &str) -> Self {
        let proxy = Self::in_front_of(node).await;
        proxy.shared.behaviour().is_old = true;
        proxy
    }

    /// With no node behind it: what no [`answer`](Self::answer) was given for is refused.
    pub async fn alone() -> Self {
        Self::start(None).await
    }

    async fn start(upstream: Option<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(Behaviour { upstream, ..Behaviour::default() }),
            asked: Mutex::default(),
            connections: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
        });
        let listening = tokio::spawn(listen(listener, shared.clone()));
        Self { address, shared, listening, cutting: None }
    }

    /// Its websocket address.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Hides the methods that begin so.
    pub fn hide(&self, methods: &str) {
        self.answer(methods, Answer::Hidden);
    }

    /// Answers every request whose method begins so like this, from now on. The newest answer for a method counts.
    pub fn answer(&self, methods: &str, answer: Answer) {
        self.answer_where(methods, "", answer);
    }

    /// The same for requests that hold this text in their parameters.
    pub fn answer_where(&self, methods: &str, parameters_hold: &str, answer: Answer) {
        self.shared.behaviour().answers.push((methods.to_owned(), parameters_hold.to_owned(), answer));
    }

    /// Says that this is the value under a storage key (`0x` and digits), or that there is none.
    pub fn lie(&self, key: &str, value: Option<&[u8]>) {
        let value = value.map(|value| format!("0x{}", hex::encode(value)));
        self.shared.behaviour().lies.push((key.to_owned(), value));
    }

    /// Serves that block as the last finalized one from now on: connections that are open hear of no newer one, and
    /// new ones are to an old node that has come so far and no further. Looks the block up on the node itself.
    pub async fn freeze(&self, hash: &str) {
        let node = self.shared.behaviour().upstream.clone().expect("there is a node behind it");
        let header = ask(&node, "chain_getHeader", json!([hash])).await;
        assert!(header.is_object(), "the node does not know block {hash}: {header}");
        self.shared.behaviour().frozen = Some(Frozen { hash: hash.to_owned(), header });
    }

    /// Sends nothing any more, and takes everything: open but silent.
    pub fn mute(&self, mute: bool) {
        self.shared.behaviour().mute = mute;
    }

    /// Ends each new connection before its handshake.
    pub fn refuse(&self, refuse: bool) {
        self.shared.behaviour().refuse = refuse;
    }

    /// Leads to another node from now on; the connections that are open end.
    pub fn switch_to(&self, node: &str) {
        self.shared.behaviour().upstream = Some(node.to_owned());
        self.cut();
    }

    /// Does again what the node behind it does, for all connections.
    pub fn be_honest(&self) {
        let mut behaviour = self.shared.behaviour();
        let (is_old, upstream) = (behaviour.is_old, behaviour.upstream.take());
        *behaviour = Behaviour { is_old, upstream, ..Behaviour::default() };
    }

    /// Ends every connection that is open now, without a word.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends every connection again and again, or no more.
    pub fn cut_every(&mut self, period: Option<Duration>) {
        if let Some(cutting) = self.cutting.take() {
            cutting.abort();
        }
        let shared = self.shared.clone();
        self.cutting = period.map(|period| {
            tokio::spawn(async move {
                let mut ticks = interval(period);
                // The first tick is at once.
                ticks.tick().await;
                loop {
                    ticks.tick().await;
                    shared.cuts.send_modify(|cuts| *cuts += 1);
                }
            })
        });
    }

    /// The methods that were asked for so far, in order.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked().clone()
    }

    /// How many connections were made so far, those that were refused included.
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }
}

impl Drop for RpcProxy {
    fn drop(&mut self) {
        self.listening.abort();
        if let Some(cutting) = &self.cutting {
            cutting.abort();
        }
        self.cut();
        if std::thread::panicking() {
            println!("---- RPC proxy, {} connections: {:?}", self.connections(), self.asked());
        }
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // A connection that ended before it was taken is its client's loss.
        let Ok((stream, _)) = listener.accept().await else { continue };
        shared.connections.send_modify(|connections| *connections += 1);
        if shared.behaviour().refuse {
            continue;
        }
        let mut cuts = shared.cuts.subscribe();
        cuts.mark_unchanged();
        let serving = serve(stream, shared.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = serving => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

/// One question to a node, on a connection of its own.
///
/// # Panics
/// If it is not there, or does not answer.
pub async fn ask(node: &str, method: &str, params: Value) -> Value {
    let (mut node, _) = connect_async(node).await.expect("the node is there");
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    node.send(Message::text(request)).await.expect("the node takes requests");
    loop {
        // Nodes also ping.
        let message = node.next().await.expect("the node answers").expect("the connection holds");
        if let Message::Text(answer) = message {
            let answer: Value = serde_json::from_str(answer.as_str()).expect("JSON");
            return answer["result"].clone();
        }
    }
}

/// Serves one connection to its end. A client that does not take its answers loses it.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // The client's handshake is answered before the node is asked for: the proxy is up even if the node is not.
    let Ok(client) = accept_async(stream).await else { return };
    let upstream = shared.behaviour().upstream.clone();
    let (mut to_client, mut from_client) = client.split();
    let (answers, mut waiting) = mpsc::channel::<String>(WAITING_MESSAGES);
    let mut relay = Relay::default();

    let node = match upstream {
        None => None,
        // A node that is not there ends the connection.
        Some(node) => match connect_async(node).await {
            Ok((node, _)) => Some(node.split()),
            Err(_) => return,
        },
    };
    let (mut to_node, mut from_node) = node.unzip();
    loop {
        tokio::select! {
            message = from_client.next() => {
                let Some(Ok(message)) = message else { return };
                let Message::Text(text) = message else { continue };
                let behaviour = shared.behaviour().clone();
                let (step, method) = relay.take_request(text.as_str(), &behaviour);
                shared.asked().extend(method);
                match step {
                    Step::Forward(text) => match &mut to_node {
                        Some(node) => if node.send(Message::text(text)).await.is_err() { return },
                        None => {
                            let refusal = relay::refusal(&text);
                            if answers.try_send(refusal).is_err() { return }
                        }
                    },
                    Step::Answer(text) => if answers.try_send(text).is_err() { return },
                    Step::Nothing => {}
                }
            }
            message = async {
                match &mut from_node {
                    Some(node) => node.next().await,
                    None => std::future::pending().await,
                }
            } => {
                let Some(Ok(message)) = message else { return };
                let Message::Text(text) = message else { continue };
                if let (Some(next), Some(node)) = (relay.next_request(text.as_str()), &mut to_node) {
                    if node.send(Message::text(next)).await.is_err() {
                        return;
                    }
                    continue;
                }
                let behaviour = shared.behaviour().clone();
                let (texts, delay) = relay.take_message(text.as_str(), &behaviour);
                for text in texts {
                    match delay {
                        None => if answers.try_send(text).is_err() { return },
                        Some(delay) => {
                            let answers = answers.clone();
                            tokio::spawn(async move {
                                sleep(delay).await;
                                // Whoever waited for it may be gone.
                                let _ = answers.send(text).await;
                            });
                        }
                    }
                }
            }
            Some(text) = waiting.recv() => {
                if !shared.behaviour().mute && to_client.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Far more than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A proxy in front of a proxy that answers one method by itself.
    async fn two() -> (RpcProxy, RpcProxy) {
        let node = RpcProxy::alone().await;
        node.answer("system_name", Answer::Result(json!("node")));
        let proxy = RpcProxy::in_front_of(&node.url()).await;
        (proxy, node)
    }

    #[tokio::test]
    async fn it_passes_on_what_it_was_not_told_to_change() {
        let (proxy, node) = two().await;
        assert_eq!(ask(&proxy.url(), "system_name", json!([])).await, "node");
        assert_eq!(ask(&proxy.url(), "system_other", json!([])).await, Value::Null);
        assert_eq!(proxy.asked(), ["system_name", "system_other"]);
        assert_eq!((proxy.asked(), proxy.connections()), (node.asked(), 2));
        proxy.answer("system_", Answer::Late(Duration::from_millis(50)));
        assert_eq!(ask(&proxy.url(), "system_name", json!([])).await, "node");
        proxy.answer("system_", Answer::Huge(1000));
        assert_eq!(ask(&proxy.url(), "system_name", json!([])).await, "0".repeat(1000));
        proxy.be_honest();
        assert_eq!(ask(&proxy.url(), "system_name", json!([])).await, "node");
    }

    #[tokio::test]
    async fn a_cut_ends_what_is_open_and_leaves_new_connections_alone() {
        let (mut proxy, _node) = two().await;
        let (mut open, _) = connect_async(proxy.url()).await.expect("it listens");
        proxy.cut();
        let end = timeout(PATIENCE, open.next()).await.expect("at once");
        assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
        assert_eq!(ask(&proxy.url(), "system_name", json!([])).await, "node");
        proxy.cut_every(Some(Duration::from_millis(10)));
        let mut ended = 0;
        while ended < 3 {
            // A handshake may be cut as well.
            let Ok((mut open, _)) = connect_async(proxy.url()).await else { continue };
            timeout(PATIENCE, open.next()).await.expect("cut again and again");
            ended += 1;
        }
        proxy.cut_every(None);
        assert_eq!(ask(&proxy.url(), "system_name", json!([])).await, "node");
    }

    #[tokio::test]
    async fn it_can_be_silent_refuse_and_lead_elsewhere() {
        let (proxy, _node) = two().await;
        proxy.mute(true);
        let (mut open, _) = connect_async(proxy.url()).await.expect("it listens");
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "system_name", "params": [] });
        open.send(Message::text(request.to_string())).await.expect("it takes everything");
        timeout(Duration::from_millis(200), open.next()).await.expect_err("and says nothing");
        proxy.refuse(true);
        assert!(connect_async(proxy.url()).await.is_err());
        proxy.be_honest();
        let other = RpcProxy::alone().await;
        other.answer("system_name", Answer::Result(json!("other")));
        proxy.switch_to(&other.url());
        assert_eq!(ask(&proxy.url(), "system_name", json!([])).await, "other");
    }
}
