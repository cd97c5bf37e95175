//! T10, T11, T12: places of a release that lie, break off, are out of order or lead astray. What they can do is delay.

use integration_tests::{
    child::Child,
    hostile_server::{Asked, HostileServer, Manner},
    journey::Journey,
    ledger,
    operator::{NETWORK, Operator, VAULT, has_seen},
    releases::Release,
    status::VaultStatus,
    untouched::Untouched,
    wait,
};
use serde_json::json;

/// More than a test vault, and far less than what is offered to overrun it.
const CAP_BYTES: u64 = 16 * 1024 * 1024;
/// Where a transfer breaks off: well inside the file.
const SOME_BYTES: usize = 1_000_000;

/// A vault that runs 1.0.0, while the chain states 2.0.0, whose only place misbehaves.
struct Attacked {
    journey: Journey,
    server: HostileServer,
    daemon: Child,
    before: Untouched,
    next: Release,
}

fn has_all(problem: &str, said: &[&str]) -> bool {
    said.iter().all(|said| problem.contains(said))
}

impl Attacked {
    async fn by(first: impl Into<Vec<Manner>>) -> Self {
        let journey = Journey::begin().await;
        let server = HostileServer::start().await;
        let operator = &journey.operator;
        operator.configure(|config| {
            config["networks"][NETWORK]["release_urls"] = json!([server.url_template()]);
            config["max_artifact_bytes"] = json!(CAP_BYTES);
        });
        let (good, next) = (Release::of_test_vault("1.0.0"), Release::of_test_vault("2.0.0"));
        server.offer(&good);
        server.offer(&next);
        server.answer("2.0.0", first);
        journey.state(&good).await;
        let daemon = operator.run();
        let before = Untouched::running(operator, &good).await;
        journey.state(&next).await;
        Self { journey, server, daemon, before, next }
    }

    fn operator(&self) -> &Operator {
        &self.journey.operator
    }

    /// Waits until the status says this of the present manner, and looks whether anything else has changed.
    async fn only_said(&self, said: &[&str]) {
        let operator = self.operator();
        let vault = operator
            .vault_where(&format!("a problem with {said:?}"), |vault| {
                vault.problem.as_deref().is_some_and(|problem| has_all(problem, said))
            })
            .await;
        assert_eq!(vault.state, "running");
        assert_eq!(vault.target.map(|target| target.checksum), Some(self.next.checksum.clone()));
        assert_eq!(vault.rejected, [], "no server can have a release rejected");
        self.before.still(operator).await;
    }

    /// Has the place misbehave in another way, and asks it at once.
    async fn then(&self, manner: Manner, said: &[&str]) {
        self.server.answer("2.0.0", [manner]);
        self.ask_now(|vault| vault.problem.as_deref().is_some_and(|problem| has_all(problem, said))).await;
        self.only_said(said).await;
    }

    /// Nothing is left of what was refused.
    fn left_nothing(&self) {
        assert_eq!(self.operator().partial(), Vec::<String>::new());
    }

    /// Whoever behaves afterwards is believed.
    async fn and_heals(self) {
        self.server.answer("2.0.0", [Manner::Whole]);
        self.ask_now(|vault| vault.target_runs()).await;
        self.goes_on().await;
    }

    /// Has the place asked at once, and not after a wait, unless it was asked meanwhile.
    async fn ask_now(&self, is_answered: impl Fn(&VaultStatus) -> bool) {
        wait::until("a wait to be ended", async || {
            let retry = self.operator().vaultvisor(&["retry", VAULT]).await;
            let vault = self.operator().vault().await;
            match retry.code == Some(0) || is_answered(&vault) {
                true => Ok(()),
                false => Err(format!("{}{vault:#?}", retry.stderr)),
            }
        })
        .await;
    }

    async fn goes_on(self) {
        let operator = self.operator();
        let after = operator.running(&self.next).await;
        assert_ne!(after.pid, self.before.pid());
        assert_eq!(operator.vault().await.problem, None, "it does not stand any more");
        assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
        self.left_nothing();
    }
}

#[tokio::test]
async fn t10_an_endless_body_a_lying_length_and_a_bomb_are_stopped_at_the_cap() {
    let attacked = Attacked::by([Manner::Endless]).await;
    let cap = format!("larger than the limit of {CAP_BYTES} bytes (max_artifact_bytes)");
    attacked.only_said(&[&cap]).await;
    attacked.left_nothing();
    attacked.daemon.forget_memory_peak();
    let idle = attacked.daemon.memory_peak();

    // Said before a byte has come, and so nothing is taken.
    attacked.then(Manner::LieOfLength(u64::MAX / 2), &[&cap]).await;
    attacked.left_nothing();

    // Less than there is: what was announced is taken, and is not the file.
    let short = SOME_BYTES as u64;
    let other = [&attacked.next.checksum, "found", "(1000000 bytes)"];
    attacked.then(Manner::LieOfLength(short), &other).await;
    attacked.left_nothing();

    // Never unpacked: the bytes are what they are.
    attacked.then(Manner::Bomb, &[&attacked.next.checksum, "found"]).await;
    attacked.then(Manner::Endless, &[&cap]).await;
    attacked.left_nothing();
    let peak = attacked.daemon.memory_peak();
    assert!(peak < idle + CAP_BYTES, "{idle} bytes before, {peak} at the worst");
    attacked.and_heals().await;
}

#[tokio::test]
async fn t11_a_transfer_that_was_cut_is_gone_on_with_where_it_broke_off() {
    let cut = Manner::CutAfter(SOME_BYTES);
    let attacked = Attacked::by([cut.clone(), cut, Manner::Whole]).await;
    attacked.operator().running(&attacked.next).await;
    let froms: Vec<_> = attacked.server.asked("2.0.0").iter().map(|asked| asked.from).collect();
    assert_eq!(froms, [None, Some(SOME_BYTES), Some(2 * SOME_BYTES)]);
    attacked.goes_on().await;
}

#[tokio::test]
async fn t11_a_transfer_that_stalls_is_given_up_and_gone_on_with() {
    let attacked = Attacked::by([Manner::StallAfter(SOME_BYTES), Manner::Silence]).await;
    attacked.only_said(&["stalled: no byte for 20 s"]).await;
    assert_eq!(attacked.operator().partial(), [attacked.next.checksum.as_str()], "it is worth keeping");
    attacked.server.answer("2.0.0", [Manner::Whole]);
    attacked.ask_now(|vault| vault.target_runs()).await;
    attacked.operator().running(&attacked.next).await;
    let last = attacked.server.asked("2.0.0").pop().and_then(|asked| asked.from);
    assert_eq!(last, Some(SOME_BYTES));
    attacked.goes_on().await;
}

#[tokio::test]
async fn t11_a_server_that_is_out_of_order_is_left_alone_as_long_as_it_asks_and_tried_again() {
    let busy = Manner::Status(429, vec!["Retry-After: 3000".to_owned()]);
    let attacked = Attacked::by([busy]).await;
    attacked.only_said(&["status 429", "it asks to be left alone for 3000 s"]).await;
    let seen = attacked.journey.chain.finalized_number().await;
    // Longer than any wait that it had not asked for at the first failure.
    has_seen(&attacked.daemon, seen + 4).await;
    let once = [Asked { path: format!("/2.0.0/vault-{NETWORK}"), from: None }];
    assert_eq!(attacked.server.asked("2.0.0"), once);

    attacked.then(Manner::Status(500, Vec::new()), &["status 500"]).await;
    attacked.then(Manner::Status(503, Vec::new()), &["status 503"]).await;
    attacked.then(Manner::Garbage, &["cannot download", "invalid HTTP"]).await;
    attacked.then(Manner::CutAfter(0), &["cannot download"]).await;
    attacked.and_heals().await;
}

#[tokio::test]
async fn t11_a_name_that_does_not_resolve_a_port_that_is_closed_and_tls_that_fails_are_tried_again() {
    let attacked = Attacked::by([Manner::Status(500, Vec::new())]).await;
    attacked.only_said(&["status 500"]).await;
    let operator = attacked.operator();
    let place_it = async |place: String| {
        operator.configure(|config| config["networks"][NETWORK]["release_urls"] = json!([place]));
        operator.reload(&attacked.daemon).await;
        attacked.ask_now(|_| false).await;
    };
    place_it("https://releases.invalid/{version}".to_owned()).await;
    attacked.only_said(&["cannot download https://releases.invalid/2.0.0", "dns error"]).await;
    // What answers there speaks no TLS.
    place_it(format!("https://{}/{{version}}", attacked.server.address())).await;
    attacked.only_said(&["cannot download https://127.0.0.1", "received corrupt message"]).await;
    place_it("http://127.0.0.1:1/{version}".to_owned()).await;
    attacked.only_said(&["cannot download http://127.0.0.1:1/2.0.0", "Connection refused"]).await;
    place_it(attacked.server.url_template()).await;
    attacked.and_heals().await;
}

#[tokio::test]
async fn t12_a_missing_file_a_page_in_its_place_and_redirects_astray_are_refused_and_never_a_rejection() {
    let attacked = Attacked::by([Manner::Status(404, Vec::new())]).await;
    attacked.only_said(&["status 404", "not published (yet)"]).await;
    attacked.then(Manner::Page, &[&attacked.next.checksum, "found"]).await;
    for place in ["http://192.0.2.1/vault", "ftp://192.0.2.1/vault"] {
        let to = Manner::RedirectTo(place.to_owned());
        attacked.then(to, &["redirected to", place, "which is not allowed: expected https"]).await;
    }
    let to = Manner::RedirectTo("file:///etc/passwd".to_owned());
    attacked.then(to, &["status 302", "a redirect to a place that is not allowed"]).await;
    let itself = format!("http://{}/2.0.0/vault-{NETWORK}", attacked.server.address());
    let before = attacked.server.asked("2.0.0").len();
    attacked.then(Manner::RedirectTo(itself), &["redirected more than 5 times, which is a loop"]).await;
    let hops = attacked.server.asked("2.0.0").len() - before;
    assert!(hops <= 4 * 6, "{hops} requests for a handful of tries");
    attacked.then(Manner::Status(304, Vec::new()), &["status 304"]).await;
    attacked.left_nothing();
    attacked.and_heals().await;
}
