//! The rules, one after the other, driven by hand: no clock, no process, no file.

use std::time::Duration;

use super::{
    policy::{BLOCKED_RETRY, CRASH_LOOP, HEALTHY_STRETCH, REJECTION_RETRIES, STARTUP_CHAIN_WAIT},
    state::Name,
    *,
};
use crate::{chain::FinalizedBlock, release::GenesisHash};

const PROBATION: Duration = Duration::from_secs(60);

fn release(sequence: u64, version: &str) -> Release {
    Release {
        sequence: Some(sequence),
        version: version.parse().expect("version"),
        binary_checksum: Checksum([version.as_bytes()[0]; 32]),
        artifacts: Default::default(),
    }
}

/// A vault between events: its state, and the actions that wait to be answered.
struct Driver {
    state: State,
    now: Now,
    policy: Policy,
    next_pid: u32,
    finalized: u64,
}

impl Driver {
    /// A vaultvisor that has just started, with these files in its store.
    fn recovered(state: State, stored: &[Checksum]) -> (Self, Vec<Action>) {
        let mut driver = Self {
            state,
            now: Now { moment: Moment(1_000_000), unix_secs: 1_700_000_000 },
            policy: Policy { probation: PROBATION, seed: 7 },
            next_pid: 100,
            finalized: 10,
        };
        let actions = driver.step(Event::Recovered { stored: stored.to_vec() });
        (driver, actions)
    }

    fn new() -> Self {
        let (driver, actions) = Self::recovered(State::default(), &[]);
        assert_eq!(actions, []);
        driver
    }

    /// One decision; reports are for people and are left out.
    fn step(&mut self, event: Event) -> Vec<Action> {
        let decision = decide(&self.state, &event, self.now, &self.policy);
        self.state = decision.next;
        decision.actions.into_iter().filter(|action| !matches!(action, Action::Report(_))).collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now.moment = self.now.moment.after(time);
        self.now.unix_secs += time.as_secs();
    }

    /// Lets time pass until the next wait is over, and ticks.
    fn tick(&mut self) -> Vec<Action> {
        let wake = wake_at(&self.state, self.now.moment).expect("something waits");
        let left = Duration::from_millis(wake.0 - self.now.moment.0);
        self.pass(left);
        self.step(Event::Tick)
    }

    fn view(&self, current: Option<Release>) -> ChainView {
        ChainView {
            source: "ws://node".into(),
            genesis: GenesisHash([9; 32]),
            finalized: FinalizedBlock { number: self.finalized, hash: [0; 32] },
            spec_version: 1,
            current,
            pending: None,
        }
    }

    fn chain(&mut self, release: &Release) -> Vec<Action> {
        self.finalized += 1;
        let view = self.view(Some(release.clone()));
        self.see(view)
    }

    fn see(&mut self, view: ChainView) -> Vec<Action> {
        self.step(Event::Chain { view: Some(Box::new(view)), problem: None })
    }

    fn fetched(&mut self, release: &Release) -> Vec<Action> {
        self.step(Event::Fetched(release.binary_checksum))
    }

    fn started(&mut self, release: &Release) -> Vec<Action> {
        self.next_pid += 1;
        let (build, pid) = (Build::from(release), self.next_pid);
        self.step(Event::Started { build, pid, downtime: Some(Duration::from_millis(2)) })
    }

    fn ended(&mut self) -> Vec<Action> {
        let pid = self.next_pid;
        self.step(Event::Ended { pid, ending: Ending::Code(1) })
    }

    /// A vault that runs this release and has proved it.
    fn running(release: &Release) -> Self {
        let mut driver = Self::new();
        assert_eq!(driver.chain(release), [fetch(release)]);
        assert_eq!(driver.fetched(release), [Action::Start(Build::from(release))]);
        assert_eq!(driver.started(release), []);
        assert_eq!(driver.state.name(), Name::Probation);
        assert_eq!(driver.tick(), [Action::Prune { keep: vec![release.binary_checksum] }]);
        assert_eq!(driver.state.name(), Name::Running);
        driver
    }

    fn build(&self) -> &Build {
        &self.state.running().expect("a process").build
    }

    fn problem(&self) -> &str {
        self.state.problems.last().map_or("", |problem| &problem.text)
    }
}

fn one() -> Release {
    release(1, "1.0")
}

fn two() -> Release {
    release(2, "2.0")
}

fn fetch(release: &Release) -> Action {
    Action::Fetch(Build::from(release))
}

fn switch_to(release: &Release) -> Action {
    Action::Switch { to: Build::from(release) }
}

#[test]
fn rule_1_the_file_is_fetched_while_the_old_vault_runs() {
    let mut driver = Driver::running(&one());
    let before = driver.state.running().cloned();
    assert_eq!(driver.chain(&two()), [fetch(&two())]);
    assert_eq!((driver.state.name(), driver.state.running().cloned()), (Name::Running, before));
    assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
    assert_eq!(driver.state.name(), Name::Switching);
}

#[test]
fn rule_1_a_refused_file_changes_nothing_and_says_why() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    let before = driver.state.running().cloned();
    let reason = "expected checksum a, found b".to_owned();
    assert_eq!(
        driver.step(Event::FetchFailed { checksum: two().binary_checksum, reason: reason.clone() }),
        []
    );
    assert_eq!((driver.state.name(), driver.state.running().cloned()), (Name::Running, before));
    assert_eq!(driver.problem(), reason);
    assert_eq!(driver.state.rejected, [], "a fetch that fails is no rejection");
    assert_eq!(driver.tick(), [fetch(&two())], "and is tried again");
    driver.fetched(&two());
    assert_eq!(driver.problem(), "", "what stands no more is not shown");
}

#[test]
fn rule_4_the_old_release_is_kept_until_the_new_one_has_proved_itself() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    assert_eq!(driver.started(&two()), [], "nothing is removed yet");
    assert_eq!(driver.state.name(), Name::Probation);
    assert!(driver.state.needed().contains(&one().binary_checksum));
    assert_eq!(driver.tick(), [Action::Prune { keep: vec![two().binary_checksum] }]);
    assert_eq!(driver.state.last_known_good, Some(Build::from(&two())));
    let switch = driver.state.last_switch.expect("a switch");
    assert_eq!(
        (switch.from, switch.to, switch.downtime_us),
        (Build::from(&one()), Build::from(&two()), 2_000)
    );
}

#[test]
fn rule_5_a_release_that_ends_on_probation_is_rejected_and_the_old_one_comes_back() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.started(&two());
    assert_eq!(driver.ended(), [Action::Start(Build::from(&one()))]);
    assert_eq!(driver.state.name(), Name::RollingBack);
    driver.started(&one());
    assert_eq!((driver.state.name(), driver.build().clone()), (Name::Running, Build::from(&one())));
    assert_eq!(driver.state.rejected.len(), 1);
    assert!(
        driver.problem().contains("2.0") && driver.problem().contains("exit code 1"),
        "{}",
        driver.problem()
    );
    let before = driver.state.clone();
    assert_eq!(driver.chain(&two()), [], "the chain's repeating it is no news");
    assert_eq!(driver.state, before);
}

#[test]
fn rule_5_a_rejected_release_is_tried_again_on_schedule_only() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    for (attempt, retry) in (1..).zip(REJECTION_RETRIES.into_iter().chain([REJECTION_RETRIES[4]])) {
        driver.started(&two());
        driver.ended();
        driver.started(&one());
        assert_eq!(driver.state.rejected[0].attempts, attempt);
        let began = driver.now.moment;
        let mut actions = Vec::new();
        while actions.is_empty() {
            actions = driver.tick();
        }
        let waited = Duration::from_millis(driver.now.moment.0 - began.0);
        assert!(waited <= retry && waited >= retry.mul_f64(0.74), "try {attempt}: {waited:?} of {retry:?}");
        assert_eq!(actions, [fetch(&two())]);
        assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
    }
}

#[test]
fn rule_5_a_newer_statement_of_a_rejected_file_earns_one_immediate_retry() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.started(&two());
    driver.ended();
    driver.started(&one());
    let again = Release { sequence: Some(3), ..two() };
    assert_eq!(driver.chain(&again), [fetch(&again)]);
    assert_eq!(driver.fetched(&again), [switch_to(&again)]);
    driver.started(&again);
    driver.ended();
    driver.started(&one());
    assert_eq!(driver.chain(&again), [], "one, not one for each block");
}

#[test]
fn rule_5_a_first_release_that_fails_is_not_rejected_because_nothing_is_behind_it() {
    let mut driver = Driver::new();
    driver.chain(&one());
    driver.fetched(&one());
    driver.started(&one());
    assert_eq!(driver.ended(), [fetch(&one())], "its file is proved again");
    assert_eq!((driver.state.name(), driver.state.rejected.len()), (Name::Starting, 0));
    assert_eq!(driver.tick(), [Action::Start(Build::from(&one()))]);
}

#[test]
fn rule_6_a_crashed_vault_is_started_again_ever_more_slowly_and_never_given_up() {
    let mut driver = Driver::running(&one());
    let mut waits = Vec::new();
    for crash in 1..=20 {
        assert_eq!(driver.ended(), []);
        let began = driver.now.moment;
        assert_eq!(driver.tick(), [Action::Start(Build::from(&one()))]);
        waits.push(driver.now.moment.0 - began.0);
        driver.started(&one());
        assert_eq!(driver.problem().contains("crash loop"), crash >= CRASH_LOOP, "{}", driver.problem());
    }
    assert!((750..=1000).contains(&waits[0]), "{waits:?}");
    assert!(waits[19] > 200_000 && waits[19] <= 300_000, "{waits:?}");
    driver.pass(HEALTHY_STRETCH);
    driver.step(Event::Tick);
    assert_eq!(driver.problem(), "", "a healthy stretch ends the report");
    driver.ended();
    assert!(matches!(driver.state.process, Phase::Starting { attempt: 1, .. }), "and the count");
}

#[test]
fn rule_6_a_newer_release_that_is_ready_is_started_instead_of_the_crashed_one() {
    let mut driver = Driver::running(&one());
    driver.ended();
    driver.chain(&two());
    driver.fetched(&two());
    assert_eq!(driver.tick(), [Action::Start(Build::from(&two()))]);
}

#[test]
fn rule_7_without_the_chain_the_last_known_good_release_is_started_after_a_bounded_wait() {
    let stored = [one().binary_checksum];
    let (mut driver, actions) = Driver::recovered(Driver::running(&one()).state, &stored);
    assert_eq!((actions, driver.state.name()), (vec![], Name::Ready));
    let began = driver.now.moment;
    assert_eq!(driver.tick(), [Action::Start(Build::from(&one()))]);
    assert_eq!(driver.now.moment, began.after(STARTUP_CHAIN_WAIT));
}

#[test]
fn rule_7_a_release_stated_while_away_is_fetched_beside_the_last_known_good_one() {
    let (mut driver, _) = Driver::recovered(Driver::running(&one()).state, &[one().binary_checksum]);
    let actions = driver.chain(&two());
    assert_eq!(actions, [fetch(&two()), Action::Start(Build::from(&one()))]);
    driver.started(&one());
    assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
}

#[test]
fn rule_7_a_first_release_is_not_started_before_the_chain_named_it_and_it_is_proved() {
    let mut driver = Driver::new();
    assert_eq!(driver.tick(), [], "there is nothing to start");
    assert_eq!(driver.state.name(), Name::Waiting);
    assert_eq!(driver.chain(&one()), [fetch(&one())]);
    assert_eq!(driver.state.name(), Name::Fetching);
}

#[test]
fn rule_8_old_news_is_ignored_and_reported() {
    let mut driver = Driver::running(&two());
    let running = driver.state.running().cloned();
    assert_eq!(driver.chain(&one()), [], "a lower sequence");
    assert!(driver.problem().contains("release 1") && driver.problem().contains("release 2"));

    driver.finalized = 3;
    let view = driver.view(Some(release(9, "9.0")));
    assert_eq!(driver.see(view), [], "an older block");
    assert!(driver.problem().contains("block 3"), "{}", driver.problem());

    driver.finalized = 1_000;
    let view = ChainView { genesis: GenesisHash([8; 32]), ..driver.view(Some(release(9, "9.0"))) };
    assert_eq!(driver.see(view), [], "another chain");
    assert!(driver.problem().contains("another chain"), "{}", driver.problem());
    assert_eq!((driver.state.running().cloned(), &driver.state.target), (running, &Some(two())));
}

#[test]
fn rule_8_governance_may_go_back_to_an_older_version() {
    let mut driver = Driver::running(&two());
    let back = Release { sequence: Some(3), ..one() };
    assert_eq!(driver.chain(&back), [fetch(&back)]);
}

#[test]
fn rule_8_a_statement_of_the_running_file_never_restarts_the_vault() {
    let mut driver = Driver::running(&one());
    let pid = driver.state.running().map(|running| running.pid);
    let renamed = Release { sequence: Some(2), version: "1.0-again".parse().expect("version"), ..one() };
    assert_eq!(driver.chain(&renamed), []);
    assert_eq!(driver.state.running().map(|running| running.pid), pid);
}

#[test]
fn rule_8_newer_news_during_a_fetch_or_a_switch_wins_and_nothing_overlaps() {
    let mut driver = Driver::running(&one());
    let three = release(3, "3.0");
    driver.chain(&two());
    assert_eq!(driver.chain(&three), [fetch(&three)]);
    assert_eq!(driver.fetched(&two()), [], "the older file is wanted no more");
    assert_eq!(driver.fetched(&three), [switch_to(&three)]);

    let four = release(4, "4.0");
    assert_eq!(driver.chain(&four), [fetch(&four)]);
    assert_eq!(driver.fetched(&four), [], "one switch at a time");
    assert_eq!(driver.started(&three), [switch_to(&four)], "taken up as soon as it is safe");
}

#[test]
fn rule_8_a_chain_that_states_nothing_any_more_leaves_the_vault_alone() {
    let mut driver = Driver::running(&one());
    driver.finalized += 1;
    let view = driver.view(None);
    assert_eq!(driver.see(view), []);
    assert_eq!(driver.state.name(), Name::Running);
    assert!(driver.problem().contains("states no release"), "{}", driver.problem());
}

#[test]
fn rule_10_shutdown_stops_the_vault_and_starts_nothing_any_more() {
    let mut driver = Driver::running(&one());
    assert_eq!(driver.step(Event::Shutdown), [Action::Stop]);
    assert_eq!(driver.step(Event::Shutdown), [], "asked twice it is stopped once");
    assert_eq!(driver.chain(&two()), []);
    assert_eq!(driver.ended(), []);
    assert_eq!(driver.state.process, Phase::Stopped);
}

#[test]
fn rule_10_shutdown_during_a_switch_stops_what_the_switch_started() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    assert_eq!(driver.step(Event::Shutdown), [Action::Stop], "what was not executed yet never is");
    let old_pid = driver.next_pid;
    assert_eq!(driver.ended(), [], "the old process ends as part of the switch");
    assert_eq!(driver.started(&two()), [Action::Stop], "it was too late to give up");
    let late = Event::Ended { pid: old_pid, ending: Ending::Code(0) };
    driver.step(late);
    assert_ne!(driver.state.process, Phase::Stopped, "the end of another process is not this one's");
    driver.ended();
    assert_eq!(driver.state.process, Phase::Stopped);
}

#[test]
fn rule_10_a_start_that_fails_during_shutdown_is_not_made_good() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.step(Event::Shutdown);
    let failed = Event::StartFailed { build: Build::from(&two()), reason: "no".into() };
    assert_eq!(driver.step(failed), []);
    assert_eq!(driver.state.process, Phase::Stopped);
}

#[test]
fn rule_11_a_stored_wait_is_never_longer_than_its_own_length() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.started(&two());
    driver.ended();
    // Another boot, whose clock began anew.
    driver.state.rejected[0].wait.until = Moment(u64::MAX);
    let stored = [one().binary_checksum, two().binary_checksum];
    let (driver, _) = Driver::recovered(driver.state, &stored);
    let wait = driver.state.rejected[0].wait;
    assert!(wait.until <= driver.now.moment.after(REJECTION_RETRIES[0]));
}

#[test]
fn never_two_wins_over_always_one_when_the_old_vault_is_not_provably_gone() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let build = Build::from(&two());
    let held =
        Event::NotProvablyGone { build: build.clone(), lock_is_held: true, reason: "held by x".into() };
    assert_eq!(driver.step(held), [], "nothing is started");
    assert_eq!(driver.state.name(), Name::Blocked);
    assert!(driver.problem().contains("held by x"));
    let began = driver.now.moment;
    assert_eq!(driver.tick(), [Action::Start(build)], "and it is tried again");
    assert_eq!(driver.now.moment, began.after(BLOCKED_RETRY));
}

#[test]
fn a_new_release_that_cannot_be_prepared_leaves_the_old_process_untouched() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let before = driver.state.clone();
    let build = Build::from(&two());
    assert_eq!(driver.step(Event::NotPrepared { build, reason: "changed".into() }), []);
    let Phase::Switching { from, .. } = before.process else { panic!("a switch") };
    assert_eq!(driver.state.running(), Some(&from));
    assert_eq!(driver.state.rejected, []);
    assert_eq!(driver.tick(), [fetch(&two())], "its file is proved or fetched again");
}

#[test]
fn a_file_that_cannot_be_prepared_again_and_again_is_tried_ever_more_slowly() {
    // The release that proved itself is stated again while another is on probation, and its file is damaged.
    let mut driver = Driver::running(&one());
    driver.policy.probation = Duration::from_secs(100_000);
    driver.chain(&two());
    driver.fetched(&two());
    driver.started(&two());
    let back = Release { sequence: Some(3), ..one() };
    let mut actions = driver.chain(&back);
    let began = driver.now.moment;
    for _ in 0..6 {
        assert_eq!(actions, [switch_to(&back)]);
        let failed = Event::NotPrepared { build: Build::from(&back), reason: "damaged".into() };
        assert_eq!(driver.step(failed), [], "no pause");
        assert_eq!(driver.build(), &Build::from(&two()));
        assert_eq!(driver.tick(), [fetch(&back)]);
        actions = driver.fetched(&back);
    }
    let waited = driver.now.moment.0 - began.0;
    assert!(waited > 60_000, "six tries within {waited} ms");
}

#[test]
fn a_damaged_file_of_the_running_release_is_fetched_anew_also_after_a_restart() {
    let (mut driver, _) = Driver::recovered(Driver::running(&one()).state, &[one().binary_checksum]);
    assert_eq!(driver.chain(&one()), [Action::Start(Build::from(&one()))]);
    let failed = Event::NotPrepared { build: Build::from(&one()), reason: "changed".into() };
    assert_eq!(driver.step(failed), []);
    assert_eq!(driver.state.rejected, [], "not the release's fault");
    let mut actions = Vec::new();
    while !actions.contains(&fetch(&one())) {
        actions = driver.tick();
        if actions == [Action::Start(Build::from(&one()))] {
            let failed = Event::NotPrepared { build: Build::from(&one()), reason: "changed".into() };
            driver.step(failed);
        }
    }
    driver.fetched(&one());
    assert_eq!(driver.state.unproved, None);
}

#[test]
fn a_damaged_file_behind_a_failed_release_is_fetched_anew() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.started(&two());
    assert_eq!(driver.ended(), [Action::Start(Build::from(&one()))]);
    let failed = Event::NotPrepared { build: Build::from(&one()), reason: "gone".into() };
    assert_eq!(driver.step(failed), [fetch(&one())]);
    assert_eq!(driver.state.name(), Name::Starting);
    driver.fetched(&one());
    assert_eq!(driver.tick(), [Action::Start(Build::from(&one()))]);
}

#[test]
fn a_vault_that_ends_while_its_successor_cannot_be_prepared_is_started_again() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    assert_eq!(driver.ended(), [], "the switch answers");
    let failed = Event::NotPrepared { build: Build::from(&two()), reason: "no descriptors".into() };
    driver.step(failed);
    assert_eq!(driver.state.name(), Name::Starting, "and not `running` with a process that is gone");
    assert_eq!(driver.tick(), [Action::Start(Build::from(&one()))]);
}

#[test]
fn a_chain_problem_stands_until_the_chain_is_well_again() {
    let mut driver = Driver::running(&two());
    driver.chain(&one());
    let reported = driver.state.clone();
    driver.chain(&one());
    assert_eq!(driver.state, reported, "an unchanged problem is not written again with every block");
    driver.chain(&two());
    assert_eq!(driver.problem(), "");
}

#[test]
fn a_new_release_that_cannot_be_executed_is_rejected_and_the_old_one_comes_back() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let failed = Event::StartFailed { build: Build::from(&two()), reason: "Exec format error".into() };
    assert_eq!(driver.step(failed), [Action::Start(Build::from(&one()))]);
    assert_eq!(driver.state.rejected.len(), 1);
    assert!(driver.problem().contains("Exec format error"));
}

#[test]
fn a_wait_that_is_over_is_never_left_behind() {
    // Otherwise the vault's task would spin: every tick must move the next wake-up forward or end it.
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    for _ in 0..200 {
        let actions = match wake_at(&driver.state, driver.now.moment) {
            Some(_) => driver.tick(),
            None => driver.ended(),
        };
        let answers: Vec<Event> = actions.iter().filter_map(failing_answer).collect();
        for answer in answers {
            driver.step(answer);
        }
        if let Some(wake) = wake_at(&driver.state, driver.now.moment) {
            assert!(wake > driver.now.moment, "{:?}", driver.state);
        }
    }
}

fn failing_answer(action: &Action) -> Option<Event> {
    let reason = "no".to_owned();
    match action {
        Action::Fetch(build) => Some(Event::FetchFailed { checksum: build.checksum, reason }),
        Action::Start(build) | Action::Switch { to: build } => {
            Some(Event::StartFailed { build: build.clone(), reason })
        }
        Action::Stop | Action::Prune { .. } | Action::Report(_) => None,
    }
}
