//! The numbers of every rule, each with the reason for its size.

use std::time::Duration;

use crate::artifact::url::MAIN_TARGET;

/// How one vault wants to be treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long a new release must stay alive before it is kept (rule 4).
    pub probation: Duration,
    /// Whether its health URL must answer too (rule 4).
    pub health: bool,
    /// How much longer than staying alive the answer may take (rule 4).
    pub health_extension: Duration,
    /// The waits before a rejected release is tried again; the last one is used again and again (rule 5).
    pub rejection_retries: Vec<Duration>,
    /// How long the vault may take to end when it is asked to (rule 10).
    pub grace: Duration,
    /// How long a start of vaultvisor waits for the chain (rule 7).
    pub startup_chain_wait: Duration,
    /// How many releases that proved themselves are kept behind the last known good one.
    pub keep_releases: usize,
    /// The platform of this machine, which chooses among a release's binaries.
    pub target: String,
    /// The arguments of the configuration (rule 12).
    pub args: Vec<String>,
    /// Whether the vault's data folder is configured, so that it can be copied and migrated (rule 12).
    pub data_dir: bool,
    /// Whether it is not copied before a switch that does not migrate it (rule 12).
    pub skip_snapshot: bool,
    /// How many snapshots stay once a release has proved itself (rule 12).
    pub keep_snapshots: usize,
    /// Whether data from before may be put back behind a release that has lived (rule 12).
    pub restore_after_live: bool,
    /// Spreads retries of many vaults; the vault's name, hashed.
    pub seed: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            probation: Duration::from_secs(60),
            health: false,
            health_extension: HEALTH_EXTENSION_LEAST,
            rejection_retries: REJECTION_RETRIES.to_vec(),
            grace: Duration::from_secs(60),
            startup_chain_wait: STARTUP_CHAIN_WAIT,
            keep_releases: 0,
            target: MAIN_TARGET.to_owned(),
            args: Vec::new(),
            data_dir: false,
            skip_snapshot: false,
            keep_snapshots: 1,
            restore_after_live: false,
            seed: 0,
        }
    }
}

/// Rule 7: a chain that is reachable answers within this; longer would only add downtime.
pub const STARTUP_CHAIN_WAIT: Duration = Duration::from_secs(10);

/// Rule 5: a broken release is most often fixed by the next one, not by time; but a wallet that was locked
/// or a server that was down comes back within the hour.
pub const REJECTION_RETRIES: [Duration; 5] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(6 * 60 * 60),
];

/// Rule 2: the next block may be the one that ends a runtime upgrade, and a start that fails at once costs little.
pub const WINDOW_RETRY: Duration = Duration::from_secs(10);

/// Rule 2: how long one runtime upgrade excuses exits. The promotion comes with the first block of the new runtime, and
/// blocks become final within a minute or two, so an hour outlasts all but the worst stalls of finality. But it must end:
/// a release that is never promoted would keep every later release on probation for ever, and nothing would replace one
/// that cannot run. Who is still refused after it loses little: what proved itself is started again all the same, more
/// slowly, and the promoted release at once.
pub const WINDOW_LIMIT: Duration = Duration::from_secs(60 * 60);

/// Rule 4: how much longer a release may take to answer its health URL than to stay alive is, unless the operator says
/// otherwise, as long again, because a client that first catches up with its chain answers late, but at least this,
/// because an operator with a short probation did not mean to forbid that.
pub const HEALTH_EXTENSION_LEAST: Duration = Duration::from_secs(60);
/// Rule 4: a machine goes down for many reasons; three times under one release that has not proved itself is no
/// accident any more.
pub const MAX_TRIAL_REBOOTS: u32 = 3;

/// Rule 6: from one second, so that a single crash costs nothing, to five minutes, so that a client that
/// cannot start does not wear out its database and its logs.
pub const CRASH_BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest wait before a crashed vault is started again.
pub const CRASH_BACKOFF_MOST: Duration = Duration::from_secs(5 * 60);
/// Rule 6: a vault that lived this long was healthy; its next crash counts from one again.
pub const HEALTHY_STRETCH: Duration = Duration::from_secs(10 * 60);
/// Rule 6: that many starts in a row that did not last are reported as a crash loop.
pub const CRASH_LOOP: u32 = 5;

/// A failed download is tried again soon, since most failures are a release that is not published yet or
/// a connection that was cut, and never so often that a server would mind.
pub const FETCH_BACKOFF_FIRST: Duration = Duration::from_secs(2);
/// The longest wait between two tries of a download.
pub const FETCH_BACKOFF_MOST: Duration = Duration::from_secs(5 * 60);
/// A server that is asked too often says for how long it wants to be left alone: minutes, at most an hour with GitHub.
/// One that says a year would keep a vault from its release for good.
pub const RETRY_AFTER_MOST: Duration = Duration::from_secs(60 * 60);

/// Rule 10: how much longer than its grace a vault is waited for when vaultvisor ends: 2 s for what it left behind, 10 s
/// after which what is left of it is told, and the half minute of a start that was under way. What is there after that
/// the kernel holds; its keeper goes on waiting, and nobody needs vaultvisor for that.
pub const SHUTDOWN_OVERHEAD: Duration = Duration::from_secs(45);

/// The lock of a vault that someone else runs is tried again this often.
pub const BLOCKED_RETRY: Duration = Duration::from_secs(10);

/// Releases in a row that were tried on data which was migrated for one that had failed: each is another copy of the
/// data, and after so many a person should look.
pub const MAX_SNAPSHOTS: usize = 4;

/// Rejections that are kept. Governance does not state more releases in a year, and the oldest is dropped.
pub const MAX_REJECTIONS: usize = 100;
/// Damaged files that are remembered: there are hardly more than the few that a vault needs.
pub const MAX_UNPROVED: usize = 16;

impl Policy {
    /// The wait after `attempt` failures (from 1): doubled each time, capped, and jittered by up to a
    /// quarter downwards, so that a fleet does not come back at one instant.
    pub(super) fn backoff(&self, first: Duration, most: Duration, attempt: u32) -> Duration {
        let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        self.jittered(doubled.min(most), attempt)
    }

    /// The wait before a release that failed `attempts` times is tried again.
    pub(super) fn rejection_retry(&self, attempts: u32) -> Duration {
        let index = attempts.max(1) as usize - 1;
        let retries = &self.rejection_retries;
        let wait = retries.get(index).or(retries.last()).copied().unwrap_or(REJECTION_RETRIES[4]);
        self.jittered(wait, attempts)
    }

    /// The wait after `attempt` failures of something that many do at one place: anything up to twice as long each time,
    /// capped, so that a fleet whose server was down comes back evenly. Never at once, for what failed just now mostly
    /// fails again.
    pub(super) fn spread(&self, first: Duration, most: Duration, attempt: u32) -> Duration {
        let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(most);
        let least = first / 4;
        least + (doubled - least).mul_f64(self.draw(attempt))
    }

    fn jittered(&self, wait: Duration, attempt: u32) -> Duration {
        wait.mul_f64(0.75 + 0.25 * self.draw(attempt))
    }

    /// A number from 0 to 1. Deterministic, because `decide` is pure: drawn from the vault's seed and the attempt.
    fn draw(&self, attempt: u32) -> f64 {
        // The finalizer of SplitMix64: every bit of the input moves every bit of the result.
        let mut mixed = self.seed.wrapping_add(u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed >> 33) % 1001) as f64 / 1000.0
    }
}
