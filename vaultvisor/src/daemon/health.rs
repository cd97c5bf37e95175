//! Asks a vault on probation whether it is well. What the answers mean is for `decide` to say.

use std::time::Duration;

use reqwest::redirect;
use tokio::sync::mpsc;

use super::AbortOnDrop;
use crate::{config::HealthUrl, decide::Event, error_chain::Chained, tls};

/// Before the first question: a client that is well at once should not wait for its first good answer.
const FIRST_AFTER: Duration = Duration::from_secs(1);
/// Often enough that the last answer is news when a probation of a minute ends, rarely enough to cost nothing.
const EVERY: Duration = Duration::from_secs(5);
/// A client that needs longer for one page is not well.
const TIMEOUT: Duration = Duration::from_secs(4);
/// A slash that was forgotten is forgiven; more is a loop.
const MAX_REDIRECTS: usize = 3;

/// The questions to one process; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Probing {
    pub(super) pid: u32,
    pub(super) url: HealthUrl,
    _task: AbortOnDrop,
}

/// Sets up what asks; fails only if the TLS backend cannot be set up.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    // The answer must be the vault's own: no proxy, and no redirect to anybody else.
    let redirects = || {
        redirect::Policy::custom(|attempt| {
            let previous = attempt.previous();
            let same = previous.first().is_some_and(|first| first.origin() == attempt.url().origin());
            if same && previous.len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
        })
    };
    tls::client(|| {
        reqwest::Client::builder()
            .user_agent(concat!("vaultvisor/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirects())
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(0)
    })
}

/// Begins to ask about one process.
pub(super) fn probe(
    client: reqwest::Client,
    url: HealthUrl,
    pid: u32,
    events: mpsc::Sender<Event>,
) -> Probing {
    let asked = url.clone();
    let task = tokio::spawn(async move {
        let mut next = tokio::time::Instant::now() + FIRST_AFTER;
        loop {
            tokio::time::sleep_until(next).await;
            next += EVERY;
            let (ok, detail) = ask(&client, &asked).await;
            if events.send(Event::Health { pid, ok, detail }).await.is_err() {
                return;
            }
        }
    });
    Probing { pid, url, _task: AbortOnDrop(Some(task.abort_handle())) }
}

/// One question. Of the answer nothing but its head is read, whatever comes after it.
async fn ask(client: &reqwest::Client, url: &HealthUrl) -> (bool, String) {
    match client.get(url.url().clone()).send().await {
        Ok(response) => {
            let status = response.status();
            let what = if status.is_redirection() { ", a redirect to another place" } else { "" };
            (status.is_success(), format!("{url} answers with status {}{what}", status.as_u16()))
        }
        Err(error) if error.is_timeout() => {
            (false, format!("{url} does not answer for {} s", TIMEOUT.as_secs()))
        }
        Err(error) => (false, format!("{url} does not answer: {}", Chained(&error.without_url()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// Answers every connection with the same bytes, again and again if told to.
    async fn server(head: String, endless: bool) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let port = listener.local_addr().expect("address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = head.replace("{port}", &port.to_string());
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(head.as_bytes()).await;
                    while endless && stream.write_all(&[b'x'; 4096]).await.is_ok() {}
                });
            }
        });
        port
    }

    async fn asked(head: &str, endless: bool) -> (bool, String) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let port = server(head.to_owned(), endless).await;
        let url = format!("http://127.0.0.1:{port}/metrics").parse().expect("url");
        ask(&client().expect("client"), &url).await
    }

    #[tokio::test]
    async fn only_a_status_of_2xx_is_well() {
        for (head, well) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", false),
            ("garbage\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(asked(head, false).await.0, well, "{head:?}");
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_not_read() {
        let (well, _) = asked("HTTP/1.1 200 OK\r\n\r\n", true).await;
        assert!(well);
        let (well, what) = asked(&format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(100_000)), true).await;
        assert!(!well, "{what}");
    }

    #[tokio::test]
    async fn a_redirect_to_another_place_is_not_followed() {
        let other = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(), false).await;
        let away =
            format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n");
        let (well, what) = asked(&away, false).await;
        assert!(!well && what.contains("302"), "{what}");
        let itself = "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n";
        let (well, what) = asked(itself, false).await;
        assert!(!well, "a loop: {what}");
    }
}
