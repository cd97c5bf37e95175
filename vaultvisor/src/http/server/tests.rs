//! How little harm a client can do: in simulated time, and over a pipe that holds as little as a socket might.

use tokio::{
    io::{DuplexStream, duplex},
    net::TcpStream,
    time::Instant,
};

use super::{
    super::tests::{Fake, fake},
    *,
};

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Everything is over by then.
const LONGEST: Duration = Duration::from_secs(17);

/// Serves one connection; answers the client's end of it, and a task that ends with it.
fn connect() -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (client, served) = duplex(4096);
    let task = tokio::spawn(async move {
        let site = Site::new(Arc::new(fake()), true);
        serve_connection(served, &site).await;
    });
    (client, task)
}

/// Sends it all, as far as the server takes it, and reads the answer to its end.
async fn exchange(sent: &[u8]) -> String {
    let (client, task) = connect();
    let (mut read, mut write) = tokio::io::split(client);
    let mut answer = Vec::new();
    let send = async {
        // The server may have heard enough.
        let _ = write.write_all(sent).await;
        let _ = write.shutdown().await;
    };
    let (_, outcome) = tokio::join!(send, read.read_to_end(&mut answer));
    outcome.expect("a pipe");
    task.await.expect("no panic");
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_refused(answer: &str) -> bool {
    answer.is_empty() || answer.starts_with("HTTP/1.1 4")
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_and_the_connection_ends() {
    let answer = exchange(GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    let answer = exchange(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.contains("content-length: 3\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let twice = exchange(&[GET, GET].concat()).await;
    assert_eq!(twice.matches("HTTP/1.1").count(), 1, "one request a connection: {twice}");
}

#[tokio::test(start_paused = true)]
async fn t31_garbage_is_answered_with_4xx_or_not_at_all() {
    let long = vec![b'a'; 1024 * 1024];
    let many_headers: Vec<u8> =
        (0..200).flat_map(|number| format!("x-{number}: y\r\n").into_bytes()).collect();
    let get = b"GET / HTTP/1.1\r\nHost: localhost\r\n".as_slice();
    let mut garbage: Vec<Vec<u8>> = vec![
        vec![],
        b"\r\n\r\n".to_vec(),
        vec![0; 100_000],
        vec![b'\n'; 100_000],
        long.clone(),
        [b"GET /", &long[..], b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat(),
        [get, b"x: ", &long].concat(),
        [get, &many_headers, b"\r\n"].concat(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(),
        b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"{\"command\":\"restart\",\"vault\":\"a\"}\n".to_vec(),
        [get, b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nzz"].concat(),
    ];
    garbage[17].splice(..3, *b"POST");
    // Every prefix of a request is half of one.
    garbage.extend((0..GET.len()).map(|length| GET[..length].to_vec()));
    // And every request with one byte that no request has.
    garbage.extend((0..GET.len()).map(|place| {
        let mut broken = GET.to_vec();
        broken[place] = 0;
        broken
    }));
    for sent in garbage {
        let answer = exchange(&sent).await;
        let shown = String::from_utf8_lossy(&sent[..sent.len().min(60)]);
        assert!(is_refused(&answer), "{shown:?} ({} bytes): {answer}", sent.len());
    }
}

#[tokio::test(start_paused = true)]
async fn who_sends_much_reads_the_refusal_all_the_same() {
    let post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n";
    let answer = exchange(&[&post[..], &vec![b'x'; 500_000]].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.ends_with("here\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn t31_a_client_that_sends_slowly_or_reads_nothing_is_given_up() {
    let start = Instant::now();
    let (mut slow, served) = connect();
    let drip = async {
        // One byte a second would take a minute.
        for byte in GET.iter().cycle() {
            if slow.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        ended = served => ended.expect("no panic"),
        () = drip => {}
    }
    assert!(start.elapsed() <= LONGEST, "{:?}", start.elapsed());

    let start = Instant::now();
    // The page is larger than the pipe.
    let (mut deaf, served) = connect();
    deaf.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("room");
    served.await.expect("no panic");
    assert!(start.elapsed() <= LONGEST, "{:?}", start.elapsed());

    let start = Instant::now();
    let (_silent, served) = connect();
    served.await.expect("no panic");
    assert!(start.elapsed() <= LONGEST, "{:?}", start.elapsed());
}

#[tokio::test]
async fn t31_only_so_many_clients_are_served_at_one_time_and_then_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let serving = tokio::spawn(serve::<Fake>(listener, Site::new(Arc::new(fake()), true)));
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        idle.push(TcpStream::connect(address).await.expect("accepted by the kernel"));
    }
    let answer = async || {
        let mut client = TcpStream::connect(address).await?;
        client.write_all(GET).await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.map(|_| answer)
    };
    // Connections are taken in their order, so this one is one too many.
    let surplus = answer().await.unwrap_or_default();
    assert_eq!(surplus, "");
    drop(idle);
    let served = async {
        loop {
            match answer().await {
                Ok(text) if text.starts_with("HTTP/1.1 200 OK") => break,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    timeout(Duration::from_secs(60), served).await.expect("places are free again");
    serving.abort();
    assert!(serving.await.expect_err("aborted").is_cancelled());
}
