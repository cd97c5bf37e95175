use super::*;
use crate::artifact::scripted_server::{Server, Turn, answer, whole};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn quick() -> Limits {
    Limits { max_bytes: 1000, stall: Duration::from_millis(300), total: Duration::from_secs(30) }
}

async fn fetched(
    turns: impl IntoIterator<Item = Turn>,
    limits: Limits,
) -> (Result<(Checksum, u64), FetchError>, Server) {
    let server = Server::new(turns).await;
    let transfer = Transfer::new(limits).expect("client");
    (transfer.checksum_of(&server.url).await, server)
}

#[tokio::test]
async fn a_file_is_hashed_without_being_kept_and_the_cap_holds() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("abc");
    std::fs::write(&path, b"abc").expect("written");
    let url = Url::from_file_path(&path).expect("a path");
    let transfer = Transfer::new(Limits::default()).expect("client");
    let (checksum, bytes) = transfer.checksum_of(&url).await.expect("readable");
    assert_eq!((checksum.to_string().as_str(), bytes), (ABC, 3));
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1);

    let capped = Transfer::new(Limits { max_bytes: 2, ..Limits::default() }).expect("client");
    let refused = capped.checksum_of(&url).await;
    assert!(matches!(refused, Err(FetchError::TooLarge { limit: 2, .. })), "{refused:?}");
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused_without_waiting_for_it() {
    let folder = tempfile::tempdir().expect("folder");
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    let transfer = Transfer::new(Limits::default()).expect("client");
    for path in [pipe.as_path(), folder.path(), "/dev/zero".as_ref()] {
        let refused = transfer.checksum_of(&Url::from_file_path(path).expect("a path")).await;
        assert!(
            matches!(&refused, Err(error @ FetchError::NotAFile { .. }) if error.is_refusal()),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn nothing_is_compressed_and_nothing_is_decompressed() {
    let gzip = answer("200 OK", "Content-Encoding: gzip\r\n", b"abc");
    let (found, server) = fetched([Turn::Say(gzip)], quick()).await;
    assert_eq!(found.expect("the bytes as they are").0.to_string(), ABC);
    assert!(server.requests()[0].contains("accept-encoding: identity"), "{:?}", server.requests());
}

#[tokio::test]
async fn t10_a_body_without_an_end_is_stopped_at_the_cap() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ] {
        let (refused, _) = fetched([Turn::Forever(head.into())], quick()).await;
        assert!(
            matches!(&refused, Err(error @ FetchError::TooLarge { limit: 1000, .. }) if error.is_refusal()),
            "{head}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn t11_silence_before_and_in_a_body_is_given_up() {
    for said in ["", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na"] {
        let (stalled, _) = fetched([Turn::Hang(said.into())], quick()).await;
        assert!(
            matches!(&stalled, Err(error @ FetchError::Stalled { .. }) if !error.is_refusal()),
            "{said}: {stalled:?}"
        );
    }
}

#[tokio::test]
async fn t11_a_transfer_that_never_ends_is_given_up_although_bytes_come() {
    let limits = Limits { max_bytes: u64::MAX, total: Duration::from_millis(200), ..quick() };
    let (given_up, _) = fetched([Turn::Forever("HTTP/1.1 200 OK\r\n\r\n".into())], limits).await;
    assert!(matches!(given_up, Err(FetchError::Timeout { .. })), "{given_up:?}");
}

#[tokio::test]
async fn t11_a_server_says_for_how_long_it_wants_to_be_left_alone() {
    let busy = answer("429 Too Many Requests", "Retry-After: 120\r\n", b"");
    let (refused, _) = fetched([Turn::Say(busy)], quick()).await;
    let refused = refused.expect_err("it did not serve");
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(120)));
    assert!(!refused.is_refusal() && refused.to_string().contains("120 s"), "{refused}");
}

#[tokio::test]
async fn t12_redirects_lead_only_where_a_url_may_and_not_for_ever() {
    let to = |place: &str| Turn::Say(answer("302 Found", &format!("Location: {place}\r\n"), b""));
    for place in ["http://example.org/vault", "file:///etc/shadow", "ftp://127.0.0.1/vault"] {
        let (refused, _) = fetched([to(place)], quick()).await;
        let refused = refused.expect_err("not there");
        let said = crate::error_chain::Chained(&refused).to_string();
        assert!(refused.is_refusal() && said.contains("not allowed"), "{place}: {said}");
    }
    let (refused, server) = fetched([to("/vault")], quick()).await;
    let refused = refused.expect_err("a loop");
    assert!(refused.is_refusal() && crate::error_chain::Chained(&refused).to_string().contains("loop"));
    assert_eq!(server.requests().len(), 6, "five redirects are followed");
    let (found, _) = fetched([to("/other"), whole(b"abc")], quick()).await;
    assert_eq!(found.expect("the same place").1, 3);
}

#[tokio::test]
async fn t12_an_answer_that_is_not_the_file_is_a_refusal_and_no_answer_is_none() {
    for (status, is_refusal) in [
        ("404 Not Found", true),
        ("403 Forbidden", true),
        ("204 No Content", true),
        ("206 Partial Content", true),
        ("408 Request Timeout", false),
        ("429 Too Many Requests", false),
        ("500 Internal Server Error", false),
        ("503 Service Unavailable", false),
    ] {
        let (refused, _) = fetched([Turn::Say(answer(status, "", b""))], quick()).await;
        assert_eq!(refused.expect_err("not the file").is_refusal(), is_refusal, "{status}");
    }
    let transfer = Transfer::new(quick()).expect("client");
    for url in ["https://vaultvisor.invalid/vault", "http://127.0.0.1:9/vault", "file:///nonexistent/vault"] {
        let refused = transfer.checksum_of(&url.parse().expect("a URL")).await.expect_err("nobody there");
        assert!(!refused.is_refusal(), "{refused}");
    }
}
