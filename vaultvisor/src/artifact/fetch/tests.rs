use std::{fs, os::unix::fs::PermissionsExt};

use sha2::{Digest, Sha256};

use super::*;
use crate::artifact::scripted_server::{Server, Turn, answer, cut, rest, whole};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A file that needs more than one read, and nothing in it twice.
fn program() -> (Vec<u8>, Checksum) {
    let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let checksum = Checksum(Sha256::digest(&bytes).into());
    (bytes, checksum)
}

fn fetcher(limits: Limits) -> (tempfile::TempDir, Fetcher) {
    let home = tempfile::tempdir().expect("home");
    let store = Store::open(home.path()).expect("store");
    let fetcher = Fetcher::new(store, limits).expect("client");
    (home, fetcher)
}

fn quick() -> Limits {
    Limits { stall: Duration::from_millis(300), ..Limits::default() }
}

fn local(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> Url {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("write");
    Url::from_file_path(path).expect("url")
}

fn left(fetcher: &Fetcher, checksum: Checksum) -> Option<u64> {
    fs::metadata(fetcher.store.partial(checksum)).ok().map(|found| found.len())
}

fn is_untouched(fetcher: &Fetcher) -> bool {
    let partials = std::fs::read_dir(&fetcher.store.partial).expect("partial").count();
    fetcher.store.checksums().expect("list").is_empty() && partials == 0
}

#[tokio::test]
async fn only_bytes_with_the_stated_checksum_get_a_name() {
    let (home, fetcher) = fetcher(Limits::default());
    let checksum = ABC.parse().expect("checksum");
    let wrong = local(&home, "wrong", b"abd");
    let refused = fetcher.fetch(checksum, &[wrong]).await.expect_err("other bytes").to_string();
    assert!(refused.contains(ABC) && refused.contains("found "), "{refused}");
    assert!(is_untouched(&fetcher));
    fetcher.fetch(checksum, &[local(&home, "right", b"abc")]).await.expect("right bytes");
    assert!(fetcher.store.contains(checksum));
}

#[tokio::test]
async fn the_next_mirror_is_tried() {
    let (home, fetcher) = fetcher(Limits::default());
    let checksum = ABC.parse().expect("checksum");
    let absent = Url::parse("file:///nonexistent/file").expect("url");
    let urls = [absent, local(&home, "wrong", b"abd"), local(&home, "right", b"abc")];
    fetcher.fetch(checksum, &urls).await.expect("third mirror");
    assert!(fetcher.store.contains(checksum));
}

#[tokio::test]
async fn a_file_over_the_cap_is_stopped_and_leaves_nothing() {
    let (home, fetcher) = fetcher(Limits { max_bytes: 2, ..Limits::default() });
    let url = local(&home, "large", b"abc");
    let refused = fetcher.fetch(ABC.parse().expect("checksum"), &[url]).await.expect_err("too large");
    assert!(matches!(refused.error, FetchError::TooLarge { limit: 2, .. }));
    assert!(is_untouched(&fetcher));
}

#[tokio::test]
async fn t11_a_transfer_that_was_cut_is_gone_on_with_where_it_broke_off() {
    let (_home, fetcher) = fetcher(quick());
    let (program, checksum) = program();
    let server = Server::new([cut(&program, 150_000), rest(&program, 150_000)]).await;
    let urls = [server.url.clone()];
    let broken = fetcher.fetch(checksum, &urls).await.expect_err("it was cut");
    assert!(!broken.error.is_refusal(), "{broken}");
    assert_eq!(left(&fetcher, checksum), Some(150_000));
    assert!(!fetcher.store.contains(checksum));

    fetcher.fetch(checksum, &urls).await.expect("the rest");
    assert_eq!(server.ranges(), [None, Some(150_000)]);
    assert_eq!(fs::read(fetcher.store.binary(checksum)).expect("stored"), program);
    assert_eq!(left(&fetcher, checksum), None);
}

#[tokio::test]
async fn t11_another_mirror_goes_on_where_the_first_one_broke_off() {
    let (_home, fetcher) = fetcher(quick());
    let (program, checksum) = program();
    let (first, second) = (Server::new([cut(&program, 7)]).await, Server::new([rest(&program, 7)]).await);
    fetcher.fetch(checksum, &[first.url.clone(), second.url.clone()]).await.expect("both together");
    assert_eq!((first.ranges(), second.ranges()), (vec![None], vec![Some(7)]));
}

#[tokio::test]
async fn t11_a_server_that_knows_no_ranges_or_lies_about_them_is_asked_for_all_of_it() {
    let (program, checksum) = program();
    let other_place = Turn::Say(answer(
        "206 Partial Content",
        &format!("Content-Range: bytes 0-{}/{}\r\n", program.len() - 1, program.len()),
        &program,
    ));
    let too_little = Turn::Say(answer(
        "206 Partial Content",
        &format!("Content-Range: bytes 1000-1999/{}\r\n", program.len()),
        &program[1000..2000],
    ));
    let unsaid = Turn::Say(answer("206 Partial Content", "", &program[1000..]));
    let refusal = |status: &str| Turn::Say(answer(status, "", b""));
    let beyond = Turn::Say(answer("416 Range Not Satisfiable", "Content-Range: bytes */10\r\n", b""));
    for (turns, ranges) in [
        (vec![whole(&program)], vec![Some(1000)]),
        (vec![other_place, whole(&program)], vec![Some(1000), None]),
        (vec![too_little, whole(&program)], vec![Some(1000), None]),
        (vec![unsaid, whole(&program)], vec![Some(1000), None]),
        (vec![beyond, whole(&program)], vec![Some(1000), None]),
        (vec![refusal("400 Bad Request"), whole(&program)], vec![Some(1000), None]),
        (vec![refusal("403 Forbidden"), whole(&program)], vec![Some(1000), None]),
        (vec![refusal("405 Method Not Allowed"), whole(&program)], vec![Some(1000), None]),
        (vec![refusal("501 Not Implemented"), whole(&program)], vec![Some(1000), None]),
    ] {
        let (_home, fetcher) = fetcher(quick());
        fs::write(fetcher.store.partial(checksum), &program[..1000]).expect("left behind");
        let server = Server::new(turns).await;
        fetcher.fetch(checksum, std::slice::from_ref(&server.url)).await.expect("all of it");
        assert_eq!(server.ranges(), ranges);
        assert_eq!(fs::read(fetcher.store.binary(checksum)).expect("stored"), program);
    }
}

#[tokio::test]
async fn t09_what_was_left_behind_is_no_better_than_its_hash() {
    let (program, checksum) = program();
    let mut damaged = program[..1000].to_vec();
    damaged[500] ^= 1;
    let longer = [&program[..], b"x"].concat();
    for (beginning, turns) in [
        (damaged, vec![rest(&program, 1000), whole(&program)]),
        (longer.clone(), vec![Turn::Say(answer("416 Range Not Satisfiable", "", b"")), whole(&program)]),
        // A server that gives what lies behind the end.
        (longer.clone(), vec![rest(&[&longer[..], b"y"].concat(), longer.len()), whole(&program)]),
    ] {
        let (_home, fetcher) = fetcher(quick());
        fs::write(fetcher.store.partial(checksum), beginning).expect("left behind");
        let server = Server::new(turns).await;
        fetcher.fetch(checksum, std::slice::from_ref(&server.url)).await.expect("anew");
        assert_eq!(server.ranges().last(), Some(&None));
        assert_eq!(fs::read(fetcher.store.binary(checksum)).expect("stored"), program);
    }
}

#[tokio::test]
async fn a_file_that_came_whole_before_a_crash_is_installed_without_asking_anybody() {
    let (_home, fetcher) = fetcher(quick());
    let (program, checksum) = program();
    fs::write(fetcher.store.partial(checksum), &program).expect("left behind");
    let server = Server::new([whole(b"other bytes")]).await;
    fetcher.fetch(checksum, std::slice::from_ref(&server.url)).await.expect("it is here");
    assert_eq!(server.ranges(), []);
    let mode = fs::metadata(fetcher.store.binary(checksum)).expect("stored").permissions().mode();
    assert_eq!(mode & 0o7777, 0o555);
}

#[tokio::test]
async fn t12_what_is_refused_leaves_nothing_behind() {
    let (_home, fetcher) = fetcher(Limits { max_bytes: 1000, ..quick() });
    let checksum = ABC.parse().expect("checksum");
    for turn in [
        Turn::Say(answer("404 Not Found", "", b"no such release")),
        whole(b"<html>sign in</html>"),
        whole(b""),
        Turn::Forever(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
    ] {
        let server = Server::new([turn]).await;
        let refused =
            fetcher.fetch(checksum, std::slice::from_ref(&server.url)).await.expect_err("not the file");
        assert!(refused.error.is_refusal(), "{refused}");
        assert!(is_untouched(&fetcher));
    }
}

#[tokio::test]
async fn t11_a_server_that_asks_to_be_left_alone_is_while_there_is_another() {
    let (_home, fetcher) = fetcher(quick());
    let checksum = ABC.parse().expect("checksum");
    let busy = || Turn::Say(answer("503 Service Unavailable", "Retry-After: 3600\r\n", b""));
    let missing = || Turn::Say(answer("404 Not Found", "", b""));
    let (first, second) =
        (Server::new([busy()]).await, Server::new([missing(), missing(), whole(b"abc")]).await);
    let urls = [first.url.clone(), second.url.clone()];
    for _ in 0..2 {
        let failed = fetcher.fetch(checksum, &urls).await.expect_err("not yet");
        assert_eq!(failed.retry_after, None, "the other one may be asked at any time");
    }
    fetcher.fetch(checksum, &urls).await.expect("the other one has it now");
    assert_eq!((first.ranges().len(), second.ranges().len()), (1, 3));

    // Nobody else is left; whoever asks then has waited, or is an operator.
    let (_home, fetcher) = self::fetcher(quick());
    for _ in 0..2 {
        let failed = fetcher.fetch(checksum, &urls[..1]).await.expect_err("busy");
        assert_eq!(failed.retry_after, Some(Duration::from_secs(3600)));
    }
    assert_eq!(first.ranges().len(), 3);
}

#[tokio::test]
async fn t11_a_server_that_asks_for_a_year_is_left_alone_for_an_hour() {
    let (_home, fetcher) = fetcher(quick());
    let busy = Turn::Say(answer("503 Service Unavailable", "Retry-After: 31536000\r\n", b""));
    let missing = Turn::Say(answer("404 Not Found", "", b""));
    let (first, second) = (Server::new([busy]).await, Server::new([missing]).await);
    let urls = [first.url.clone(), second.url.clone()];
    fetcher.fetch(ABC.parse().expect("checksum"), &urls).await.expect_err("not yet");
    let resting = fetcher.resting.lock().expect("no panic");
    let until = resting.get(&first.url).expect("it is left alone");
    let hour = RETRY_AFTER_MOST;
    assert!(*until <= Instant::now() + hour && *until > Instant::now() + hour / 2, "{until:?}");
    assert_eq!(resting.len(), 1);
}

#[tokio::test]
async fn what_another_process_downloads_is_waited_for() {
    let (_home, fetcher) = fetcher(quick());
    let (program, checksum) = program();
    let server = Server::new([whole(&program)]).await;
    let path = fetcher.store.partial(checksum);
    let theirs = fs::File::create(&path).expect("partial");
    rustix::fs::flock(&theirs, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    let urls = [server.url.clone()];
    let mut fetching = Box::pin(fetcher.fetch(checksum, &urls));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut fetching).await;
    assert!(early.is_err() && server.ranges().is_empty(), "it did not wait: {early:?}");
    // And nobody prunes it away meanwhile.
    fetcher.store.prune(&Default::default()).expect("prune");
    assert!(path.exists());

    fs::write(&path, &program).expect("theirs");
    fetcher.store.install(checksum, &theirs).expect("install");
    drop(theirs);
    fetching.await.expect("theirs will do");
    assert_eq!(server.ranges(), []);
}
