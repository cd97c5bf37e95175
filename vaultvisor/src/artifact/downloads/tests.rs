use std::time::Duration;

use super::*;
use crate::artifact::{
    Store,
    fetch::Limits,
    scripted_server::{Server, Turn, answer, whole},
};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// Nothing here takes that long.
const SOON: Duration = Duration::from_secs(10);

fn downloads() -> (tempfile::TempDir, Store, Downloads) {
    let home = tempfile::tempdir().expect("home");
    let store = Store::open(home.path()).expect("store");
    let downloads = Downloads::new(Fetcher::new(store.clone(), Limits::default()).expect("client"));
    (home, store, downloads)
}

async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("in time");
}

#[tokio::test]
async fn all_who_want_a_file_share_one_download() {
    let (_home, store, downloads) = downloads();
    let checksum = ABC.parse().expect("checksum");
    let server = Server::new([whole(b"abc")]).await;
    let fetch = || downloads.fetch(checksum, vec![server.url.clone()], Arc::default());
    let outcomes = futures::future::join_all((0..50).map(|_| fetch())).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert!(store.contains(checksum));
    assert_eq!(server.requests().len(), 1);
    assert_eq!(downloads.under_way(), []);
}

#[tokio::test]
async fn a_failure_is_shared_too_and_the_next_who_asks_begins_anew() {
    let (_home, store, downloads) = downloads();
    let checksum = ABC.parse().expect("checksum");
    let server = Server::new([Turn::Say(answer("404 Not Found", "", b"")), whole(b"abc")]).await;
    let fetch = || downloads.fetch(checksum, vec![server.url.clone()], Arc::default());
    let outcomes = futures::future::join_all((0..50).map(|_| fetch())).await;
    assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
    assert_eq!(server.requests().len(), 1);
    fetch().await.expect("it is published now");
    assert!(store.contains(checksum));
}

#[tokio::test]
async fn a_download_goes_on_while_one_wants_it_and_ends_with_the_last() {
    let (_home, store, downloads) = downloads();
    let checksum = ABC.parse().expect("checksum");
    let server = Server::new([Turn::Hang(answer("200 OK", "", b"abc")[..40].to_vec())]).await;
    let fetch = || Box::pin(downloads.fetch(checksum, vec![server.url.clone()], Arc::default()));
    let (mut first, mut second) = (fetch(), fetch());
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    until(|| server.requests().len() == 1).await;
    drop(first);
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(downloads.under_way(), [checksum]);
    drop(second);
    assert_eq!(downloads.under_way(), []);
    tokio::time::timeout(SOON, downloads.settled(checksum)).await.expect("it lets go of the file");
    store.prune(&Default::default()).expect("prune");
    assert!(!store.partial(checksum).exists(), "nothing is left of it");
}

#[tokio::test]
async fn who_knows_other_places_is_not_held_to_those_of_others() {
    let (_home, _store, downloads) = downloads();
    let checksum = ABC.parse().expect("checksum");
    let (bad, good) = (Server::new([whole(b"abd")]).await, Server::new([whole(b"abc")]).await);
    let fetch = |server: &Server| downloads.fetch(checksum, vec![server.url.clone()], Arc::default());
    let (first, second) = tokio::join!(fetch(&bad), fetch(&good));
    assert!(first.is_err() && second.is_ok(), "{first:?} {second:?}");
}
