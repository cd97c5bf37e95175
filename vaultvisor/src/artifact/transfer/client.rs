//! The HTTP client of downloads: what it follows, and through which proxy it goes.

use std::{env, time::Duration};

use reqwest::{
    ClientBuilder, NoProxy, Proxy,
    header::{ACCEPT_ENCODING, HeaderMap, HeaderValue},
    redirect::{Attempt, Policy},
};

use super::super::url::is_loopback;
use crate::{error_chain::Chained, tls};

/// A server answers a connection within this or is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// GitHub needs one redirect; more than a few are a loop.
const MAX_REDIRECTS: usize = 5;

/// A redirect is held to the rule of a configured URL, and https never leads back to http.
fn redirected(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_https = attempt.previous().iter().any(|url| url.scheme() == "https");
    let next = attempt.url();
    let allowed = match next.scheme() {
        "https" => true,
        "http" => !was_https && is_loopback(next),
        _ => false,
    };
    if !allowed {
        let to = next.to_string();
        attempt.error(format!("redirected to {to:?}, which is not allowed: expected https"))
    } else if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error(format!("redirected more than {MAX_REDIRECTS} times, which is a loop"))
    } else {
        attempt.follow()
    }
}

/// The proxy that the environment names, as curl reads it.
///
/// Only https goes through one: plain http is allowed to this machine only, and must not leave it. A proxy that is none costs the downloads, perhaps, and not the vaults: it is said and
/// passed over.
fn proxies(builder: ClientBuilder) -> ClientBuilder {
    // Without this the client reads the environment by itself, and takes loopback for any other place.
    let builder = builder.no_proxy();
    let named = |names: [&str; 2]| {
        names.into_iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    };
    let except = named(["no_proxy", "NO_PROXY"]);
    let found = named(["https_proxy", "HTTPS_PROXY"]).or_else(|| named(["all_proxy", "ALL_PROXY"]));
    let Some(found) = found.filter(|_| except.as_deref() != Some("*")) else { return builder };
    let except = except.and_then(|except| NoProxy::from_string(&except));
    match Proxy::https(found) {
        Ok(proxy) => builder.proxy(proxy.no_proxy(except)),
        Err(error) => {
            tracing::error!("the proxy of the environment (https_proxy) is not used: {}", Chained(&error));
            builder
        }
    }
}

pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    // The bytes are hashed as they come: nothing may be compressed on the way, and nothing is decompressed.
    let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    tls::client(|| {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("vaultvisor/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::custom(redirected))
            // Downloads are rare: a connection kept for the next one would only cost memory.
            .pool_max_idle_per_host(0);
        proxies(builder)
    })
}
