//! A plan in words: each deed as a step that a person reads and a program can tell from others.

use serde::Serialize;

use super::foresight::{Deed, Foreseen, Otherwise, Waiting};
use crate::{
    artifact::url::BINARY,
    config::{Network, Vault},
    daemon::places::{self, Published},
    decide::{
        Now, State, Wait,
        data::Arguments,
        state::{Build, Phase},
    },
    release::{Checksum, Version},
    status::Time,
};

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What kind of step: `wait`, `adopt`, `fetch`, `migrate_args`, `copy_data`, `stop`, `copy_changes`,
    /// `migrate_data`, `restore_data`, `start` or `prove`.
    #[serde(rename = "do")]
    pub deed: &'static str,
    /// The release that it is about.
    pub version: Option<Version>,
    /// Its binary.
    pub checksum: Option<Checksum>,
    /// The end of a wait.
    pub until: Option<Time>,
    /// The whole of it.
    pub text: String,
}

/// Which arguments win.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArgsPlan {
    /// Whether the configuration's were edited since they were last used.
    pub edited: bool,
    /// What is started next, whenever that is; `null` where nothing can be.
    pub next_start: Option<NextStart>,
    /// Which win, and why.
    pub text: String,
}

/// What the next start is with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextStart {
    /// The release.
    pub version: Version,
    /// Its binary.
    pub checksum: Checksum,
    /// `config`, `revision` (what a migration has made) or `migration` (what one has still to make).
    pub from: &'static str,
    /// The number of the revision.
    pub revision: Option<u32>,
    /// The arguments themselves, as far as they are known.
    pub words: Option<Vec<String>>,
}

/// What a deed is told with.
pub(super) struct Teller<'a> {
    pub(super) vault: &'a Vault,
    pub(super) network: &'a Network,
    pub(super) stored: &'a dyn Fn(Checksum) -> bool,
    /// The revision that would be made, if one is.
    pub(super) next_revision: u32,
    pub(super) now: Now,
}

/// When a wait is over. Not bounded to its length from now: it may begin later.
pub(super) fn time_of(wait: Wait, now: Now) -> Time {
    Time(wait.over_at_unix_secs(now))
}

impl Teller<'_> {
    pub(super) fn step(&self, deed: &Deed) -> Step {
        let (kind, build, until, text) = match deed {
            Deed::Wait { wait, why } => {
                let until = time_of(*wait, self.now);
                ("wait", None, Some(until), format!("wait until {until}: {}", waiting(why)))
            }
            Deed::Adopt { build, pid } => {
                let text = format!("take over {}, which runs with pid {pid}", build.version);
                ("adopt", Some(build), None, text)
            }
            Deed::Fetch { build, ahead } => ("fetch", Some(build), None, self.fetch(build, *ahead)),
            Deed::MakeArguments { to, from, of } => {
                let limit = self.vault.args_migration.as_secs();
                let text = format!(
                    "run the args-migration of {} on the arguments of {} ({}), for {limit} s at most",
                    to.version,
                    from.version,
                    self.arguments(of)
                );
                ("migrate_args", Some(to), None, text)
            }
            Deed::CopyData { from } => {
                let text = format!("copy the data of {} in {} to a snapshot", from.version, self.data());
                ("copy_data", Some(from), None, text)
            }
            Deed::Stop { build, pid } => {
                let (signal, grace) = (self.vault.stop.signal, self.vault.stop.grace.as_secs());
                let text =
                    format!("stop {}, pid {pid}, by {signal}, and by SIGKILL after {grace} s", build.version);
                ("stop", Some(build), None, text)
            }
            Deed::CopyChanges => {
                let text = "copy what of the data has changed since".to_owned();
                ("copy_changes", None, None, text)
            }
            Deed::MigrateData { to } => {
                let limit = self.vault.state_migration.as_secs();
                let text = format!(
                    "run the state-migration of {} on {}, for {limit} s at most; if it fails the data is restored",
                    to.version,
                    self.data()
                );
                ("migrate_data", Some(to), None, text)
            }
            Deed::RestoreData { snapshot, from } => {
                let text = format!("restore the data of {} from snapshot {snapshot}", from.version);
                ("restore_data", Some(from), None, text)
            }
            Deed::Start { build, arguments } => {
                let text = format!("start {build} with {}", self.arguments(arguments));
                ("start", Some(build), None, text)
            }
            Deed::Prove { build, otherwise } => ("prove", Some(build), None, self.prove(build, otherwise)),
        };
        let (version, checksum) =
            (build.map(|build| build.version.clone()), build.map(|build| build.checksum));
        Step { deed: kind, version, checksum, until, text }
    }

    fn data(&self) -> String {
        let folder = self.vault.data.as_ref().map(|data| data.folder.display().to_string());
        folder.unwrap_or_else(|| "the data folder".to_owned())
    }

    fn fetch(&self, build: &Build, ahead: bool) -> String {
        let files =
            places::files(self.network, build).into_iter().map(|Published { name, checksum, urls }| {
                let name = name.unwrap_or(BINARY);
                match urls {
                    _ if (self.stored)(checksum) => format!("{name} (in the store, proved again)"),
                    Ok(urls) => {
                        let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
                        format!("{name} from {}", urls.join(" or "))
                    }
                    Err(reason) => format!("{name}, which cannot be had: {reason}"),
                }
            });
        let when = if ahead { ", ahead of the runtime upgrade that brings it" } else { "" };
        let files = files.collect::<Vec<_>>().join("; ");
        let probe = self
            .vault
            .probe_args
            .as_ref()
            .map_or_else(String::new, |args| format!(", by running it with {args:?}"));
        format!("fetch {build}{when}: {files}; and see whether this machine can run it{probe}")
    }

    fn prove(&self, build: &Build, otherwise: &Otherwise) -> String {
        let probation = &self.vault.probation;
        let answers = probation.health_url.as_ref().map_or_else(String::new, |url| {
            let url = url.url();
            format!(" and {url} answers within {} s more", probation.health_extension.as_secs())
        });
        let otherwise = match otherwise {
            Otherwise::Back(good) => format!("{good} is started again"),
            Otherwise::Barred => {
                "the vault is blocked, for its data is migrated and nothing else may be started on it"
                    .to_owned()
            }
            Otherwise::Again => "it is started again, for nothing is there to go back to".to_owned(),
        };
        let (version, secs) = (&build.version, probation.length.as_secs());
        format!("see whether {version} stays alive for {secs} s{answers}; if not, {otherwise}")
    }

    pub(super) fn arguments(&self, arguments: &Arguments) -> String {
        match arguments {
            Arguments::Config(_) => "the configuration's args".to_owned(),
            Arguments::Revision(number) if *number == self.next_revision => {
                "what its args-migration prints".to_owned()
            }
            Arguments::Revision(number) => format!("args/{number}.json, which a migration has made"),
        }
    }

    /// Which arguments win; `before` is the state that the plan begins with.
    pub(super) fn args(
        &self,
        before: &State,
        foreseen: &Foreseen,
        load: impl Fn(u32) -> Option<Vec<String>>,
    ) -> ArgsPlan {
        let edited = before.are_args_edited(&self.vault.args);
        let Some((build, arguments)) = &foreseen.next_start else {
            let text = "nothing is started before what the vault waits for has come".to_owned();
            return ArgsPlan { edited, next_start: None, text };
        };
        let version = &build.version;
        let made_of = foreseen.deeds.iter().find_map(|deed| match deed {
            Deed::MakeArguments { to, of, .. } if to.checksum == build.checksum => Some(of),
            _ => None,
        });
        let (from, revision, words, text) = match (arguments, made_of) {
            (Arguments::Revision(number), Some(of)) if *number == self.next_revision => {
                let of = match of {
                    Arguments::Config(_) if edited => {
                        "the configuration's args as they were edited".to_owned()
                    }
                    of => self.arguments(of),
                };
                let text = format!("{version} is started with what its args-migration makes of {of}");
                ("migration", None, None, text)
            }
            (Arguments::Revision(number), _) => {
                let mut text = format!(
                    "the next start of {version} is with args/{number}.json, which a migration has made"
                );
                text += match edited {
                    true => "; the configuration's args were edited and are not for it",
                    false => "; an edit of the configuration's args would take its place",
                };
                ("revision", Some(*number), load(*number), text)
            }
            (Arguments::Config(words), _) => {
                let mut text = format!("the next start of {version} is with the configuration's args");
                if edited {
                    text += ", which were edited since they were last used, as they are";
                }
                let earlier = before.arguments_of(build.checksum);
                if let (true, Some(Arguments::Revision(number))) = (edited, earlier) {
                    text += &format!(": they win over args/{number}.json, which a migration has made");
                }
                ("config", None, Some(words.clone()), text)
            }
        };
        let (version, checksum) = (build.version.clone(), build.checksum);
        ArgsPlan { edited, next_start: Some(NextStart { version, checksum, from, revision, words }), text }
    }

    /// What the vault waits for at the end, and what ends it.
    pub(super) fn then(&self, end: &State) -> Vec<String> {
        let (name, at) = (&self.vault.name, |wait| time_of(wait, self.now));
        let mut then = Vec::new();
        if let Some((_, reason)) = end.blocked() {
            then.push(format!("nothing is started: {reason}"));
        }
        match &end.process {
            Phase::Barred { reason, .. } => then.push(reason.clone()),
            Phase::Starting { build, wait, .. } => {
                then.push(format!("{} is started at {}", build.version, at(*wait)));
            }
            _ => {}
        }
        if let Some(hold) = &end.hold {
            let reason = hold.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
            then.push(format!("held{reason}: nothing else is switched to before `vaultvisor resume {name}`"));
        }
        let running = end.running().map(|running| running.build.checksum);
        let chosen = end.override_build.as_ref().or(end.stated.as_ref());
        if !end.chain_heard && chosen.is_some_and(|chosen| running != Some(chosen.checksum)) {
            then.push(
                "the chain is waited for: no other release is switched to before it is known".to_owned(),
            );
        }
        match (chosen, &end.target) {
            (None, None) if end.chain_heard => {
                then.push("the chain has not stated a release yet".to_owned());
            }
            (None, None) => then.push("the chain could not be read yet".to_owned()),
            (Some(chosen), _) if running != Some(chosen.checksum) => {
                let rejection =
                    end.rejected.iter().find(|rejection| rejection.build.checksum == chosen.checksum);
                if let Some(rejection) =
                    rejection.filter(|rejection| !rejection.wait.is_over(self.now.moment))
                {
                    then.push(format!(
                        "{chosen} failed here {} time(s) and is tried again at {}, or at once by `vaultvisor retry {name}`: {}",
                        rejection.attempts,
                        at(rejection.wait),
                        rejection.reason
                    ));
                }
            }
            _ => {}
        }
        if let Some(upgrade) = end.upgrade.as_ref().filter(|_| end.upgrade_window) {
            let (to, until) = (upgrade.to, at(upgrade.excuses));
            then.push(format!("the runtime upgrade to {to}: until {until} no exit of the vault is a crash"));
        }
        if let Some(pending) = &end.pending {
            let when = pending.spec_version.map_or_else(
                || "with the next runtime upgrade".to_owned(),
                |version| format!("when the chain runs runtime {version}"),
            );
            then.push(format!("{} is switched to {when}", pending.build));
        }
        then
    }
}

fn waiting(why: &Waiting) -> String {
    match why {
        Waiting::Chain => "for the chain, to start what it states".to_owned(),
        Waiting::Start(build) => format!("to start {} again", build.version),
        Waiting::Fetch(build) => format!("to try the download of {} again", build.version),
        Waiting::Stage(build) => format!("to try again to make {} ready", build.version),
    }
}
