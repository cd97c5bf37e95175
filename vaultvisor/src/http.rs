//! The status over HTTP: a page for people, JSON for programs, metrics for Prometheus, and answers for probes.
//!
//! Only what can be read is here: nothing that changes anything can be reached over TCP, and what operators order goes
//! through the control socket. Whoever sends garbage, nothing, or without end is answered with 4xx or not at all, and
//! costs one of a few places for some seconds; no vault hears of it.
//!
//! - [`server`]: connections, and how little harm a client can do;
//! - [`host`]: whose requests are answered: a page of another site must not read this one through a browser;
//! - [`page`]: the page for people.

pub mod host;
pub mod page;
pub mod server;

use std::{path::Path, sync::Arc};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{self, HeaderValue},
};
use serde_json::json;
use tokio::sync::Semaphore;
use url::form_urlencoded;

use crate::{
    decide::state::Name,
    error_chain::Chained,
    history::{self, Record},
    metrics::{self, Counters},
    status::Status,
};

/// So many entries of the history are answered without `limit`: what a person reads.
const DEFAULT_ENTRIES: usize = 100;
/// And so many at most: who wants all of it has `vaultvisor history`.
const MAX_ENTRIES: usize = 1000;
/// No answer with entries is longer; the oldest give way. A thousand usual ones are a third of it.
const MAX_HISTORY_BYTES: usize = 1024 * 1024;

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Nothing is loaded, run, framed or sent anywhere; the page's own style is all there is.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// So many answers are made at one time. Each looks at the disk and waits for whoever reads a configuration, on a thread of
/// its own; what a slow disk holds up are these threads, and not those that supervise vaults or write what was decided.
const MAKERS: usize = 2;

/// What is shown: a running daemon. What it answers may take as long as a disk does.
pub trait Daemon: Send + Sync + 'static {
    /// What every vault does and why.
    fn status(&self) -> Status;
    /// What happened since it started.
    fn counters(&self) -> &Counters;
    /// Where its history is.
    fn home(&self) -> &Path;
}

/// What is answered to which request.
#[derive(Debug)]
pub struct Site<D> {
    daemon: Arc<D>,
    /// Whether only those who ask under a name of this machine's own are answered.
    local_only: bool,
    makers: Arc<Semaphore>,
}

/// An answer, whole in memory.
pub type Answer = Response<Full<Bytes>>;

impl<D: Daemon> Site<D> {
    /// The site of a daemon.
    pub fn new(daemon: Arc<D>, local_only: bool) -> Self {
        Self { daemon, local_only, makers: Arc::new(Semaphore::new(MAKERS)) }
    }

    /// Answers one request. Its body, if it has one, is of no interest.
    pub async fn answer<B>(&self, request: &Request<B>) -> Answer {
        if self.local_only
            && let Err(refusal) = host::check(request)
        {
            return text(refusal.status(), &format!("{refusal}\n"));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "found another method, expected GET or HEAD: nothing can be changed here\n",
            );
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match request.uri().path() {
            "/" => self.made(|daemon| ok(HTML, page::render(&daemon.status()))).await,
            "/api/v1/status" => self.made(|daemon| json_text(&daemon.status())).await,
            "/api/v1/history" => self.history(request.uri().query().unwrap_or_default()).await,
            "/metrics" => {
                let render = |daemon: &D| metrics::render(&daemon.status(), daemon.counters());
                self.made(move |daemon| ok(metrics::CONTENT_TYPE, render(daemon))).await
            }
            "/healthz" => ok(TEXT, "ok\n"),
            "/readyz" => self.made(|daemon| ready(&daemon.status())).await,
            path if path.starts_with("/api/") => json_error(StatusCode::NOT_FOUND, "there is no such page"),
            _ => text(StatusCode::NOT_FOUND, "there is no such page\n"),
        }
    }

    async fn history(&self, query: &str) -> Answer {
        let Wanted { vault, limit } = match Wanted::parse(query) {
            Ok(wanted) => wanted,
            Err(what) => return json_error(StatusCode::BAD_REQUEST, &what),
        };
        self.made(move |daemon| match history::read_newest(daemon.home(), vault.as_deref(), limit) {
            Ok(reading) => ok(JSON, entries(&reading.records)),
            Err(error) => json_error(StatusCode::INTERNAL_SERVER_ERROR, &Chained(&error).to_string()),
        })
        .await
    }

    /// Makes an answer where it holds up nobody, in its turn. A client that is given up meanwhile frees its place, and the
    /// turn is over when the work is.
    async fn made(&self, make: impl FnOnce(&D) -> Answer + Send + 'static) -> Answer {
        let Ok(turn) = self.makers.clone().acquire_owned().await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "nothing is answered any more\n");
        };
        let daemon = self.daemon.clone();
        let made = tokio::task::spawn_blocking(move || {
            let answer = make(&daemon);
            drop(turn);
            answer
        });
        match made.await {
            Ok(answer) => answer,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// What a request wants of the history.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    vault: Option<String>,
    limit: usize,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, String> {
        let (mut vault, mut limit) = (None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let twice = match key.as_ref() {
                "vault" => vault.replace(value.into_owned()).is_some(),
                "limit" => {
                    let number = value.parse().ok().filter(|number| (1..=MAX_ENTRIES).contains(number));
                    let number = number.ok_or_else(|| {
                        format!("limit: found {value:?}, expected a number from 1 to {MAX_ENTRIES}")
                    })?;
                    limit.replace(number).is_some()
                }
                _ => return Err(format!("found {key:?}, expected vault or limit")),
            };
            if twice {
                return Err(format!("{key} is there twice, expected it once"));
            }
        }
        Ok(Self { vault, limit: limit.unwrap_or(DEFAULT_ENTRIES) })
    }
}

/// A JSON array, oldest first, of as many of the newest as fit.
fn entries(records: &[Record]) -> String {
    let mut length = 0;
    let mut newest: Vec<String> = Vec::new();
    for record in records.iter().rev() {
        let Ok(entry) = serde_json::to_string(record) else { continue };
        length += entry.len() + 1;
        if length > MAX_HISTORY_BYTES {
            break;
        }
        newest.push(entry);
    }
    newest.reverse();
    format!("[{}]\n", newest.join(","))
}

/// Whether every vault's process runs, or is stopped on purpose; names those of which neither is true.
fn ready(status: &Status) -> Answer {
    let waiting =
        status.vaults.iter().filter(|vault| vault.running.is_none() && vault.state != Name::Stopped);
    let lines: String =
        waiting.map(|vault| format!("{} is {}: {}\n", vault.name, vault.state, vault.why)).collect();
    if lines.is_empty() { ok(TEXT, "ready\n") } else { text(StatusCode::SERVICE_UNAVAILABLE, &lines) }
}

fn json_text(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(json) => ok(JSON, json + "\n"),
        Err(error) => json_error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn json_error(status: StatusCode, what: &str) -> Answer {
    answer(status, JSON, format!("{}\n", json!({ "error": what })))
}

fn text(status: StatusCode, what: &str) -> Answer {
    answer(status, TEXT, what.to_owned())
}

fn ok(content_type: &'static str, body: impl Into<String>) -> Answer {
    answer(StatusCode::OK, content_type, body.into())
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        // It is of this moment.
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests;
