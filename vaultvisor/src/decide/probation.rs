//! Rule 4, probation: a new release must stay alive, and answer where it is asked, before the old one is given up.

use super::{
    Deciding, Kind, Severity,
    migration::WayBack,
    policy::MAX_TRIAL_REBOOTS,
    state::{
        Answer, Build, Concern, Good, Left, Moment, Phase, Probation, Reason, RuntimeSeen, TrialReboots, Wait,
    },
};

/// What a health URL says is for people: enough of it to see what is wrong.
const MAX_DETAIL_CHARS: usize = 200;

impl Deciding<'_> {
    /// The trial of a process that was executed then; what has proved itself here before needs no second one.
    pub(super) fn trial(&self, build: &Build, since: Moment) -> Option<Probation> {
        let wait = Wait::start(since, self.policy.probation);
        let trial =
            Probation { left: Left::Until(wait), answer: Answer::None, extended: false, failed: false };
        (!self.state.is_proved(build.checksum)).then_some(trial)
    }

    /// The trial of a process that was to be replaced and still runs: one that has failed it is judged again
    /// only after another while, so that one failure is counted once.
    pub(super) fn probation_after_switch(
        &self,
        probation: Option<Probation>,
        reason: Reason,
    ) -> Option<Probation> {
        let again = Left::Until(Wait::start(self.now.moment, self.policy.health_extension));
        match reason {
            Reason::Failed => probation.map(|probation| Probation { left: again, ..probation }),
            Reason::Release | Reason::Restart => probation,
        }
    }

    pub(super) fn health(&mut self, pid: u32, ok: bool, detail: &str) {
        if let Phase::Running { process, probation: Some(probation), .. } = &mut self.state.process
            && process.pid == pid
        {
            let detail = || detail.chars().take(MAX_DETAIL_CHARS).collect();
            probation.answer = if ok { Answer::Well } else { Answer::Ill(detail()) };
        }
    }

    pub(super) fn settle_probation(&mut self) {
        let now = self.now.moment;
        self.settle_healthy_stretch();
        let Phase::Running { process, probation: Some(probation), .. } = &mut self.state.process else {
            return;
        };
        let Left::Until(wait) = probation.left else { return };
        let answered = !self.policy.health || probation.answer == Answer::Well;
        if answered && (probation.extended || wait.is_over(now)) {
            let build = process.build.clone();
            return self.commit(build);
        }
        if !wait.is_over(now) {
            return;
        }
        probation.left = Left::Until(Wait::start(now, self.policy.health_extension));
        if !std::mem::replace(&mut probation.extended, true) {
            let text = format!(
                "release {} lives but has not answered its health URL, which is waited for {} s more",
                process.build,
                self.policy.health_extension.as_secs()
            );
            return self.report(Severity::Warn, text);
        }
        self.never_answered();
    }

    /// The release is kept, and what was behind it is removed.
    fn commit(&mut self, build: Build) {
        if let Phase::Running { probation, attempt, .. } = &mut self.state.process {
            *probation = None;
            *attempt = 0;
        }
        let state = &mut self.state;
        state.rejected.retain(|rejection| rejection.build.checksum != build.checksum);
        state.trial_reboots = None;
        let spec_version = state.seen.as_ref().map(|seen| seen.spec_version);
        let old = state.last_known_good.replace(Good { build: build.clone(), spec_version });
        state.previous.extend(old.map(|old| old.build));
        state.previous.retain(|kept| kept.checksum != build.checksum);
        let surplus = state.previous.len().saturating_sub(self.policy.keep_releases);
        state.previous.drain(..surplus);
        let text = format!("release {build} proved itself and is kept");
        self.note(Kind::Kept, None, Some(&build), text.clone());
        self.report(Severity::Info, text);
        self.no_problem(Concern::Process);
        self.no_problem(Concern::Runtime);
        self.data_kept();
        self.prune();
    }

    /// The runtime versions that the last known good release has run under (rule 5 asks for them): those that it has
    /// lived under for as long as a new release must. The moments between a runtime upgrade and the switch to the
    /// release that comes with it prove nothing.
    pub(super) fn note_runtime(&mut self, spec_version: u32) {
        let now = self.now.moment;
        let runtime = self.state.runtime.take().filter(|known| known.spec_version == spec_version);
        let runtime = runtime
            .unwrap_or_else(|| RuntimeSeen { spec_version, proves: Wait::start(now, self.policy.probation) });
        let proves = runtime.proves.is_over(now);
        self.state.runtime = Some(runtime);
        // One that was gone back to has yet to be seen to do its work.
        if self.state.has_problem(Concern::Runtime) {
            return;
        }
        if let Phase::Running { process, probation: None, .. } = &self.state.process
            && let Some(good) = &mut self.state.last_known_good
            && good.build.checksum == process.build.checksum
            && proves
            && now >= process.since.after(self.policy.probation)
        {
            good.spec_version = good.spec_version.max(Some(spec_version));
        }
    }

    /// A vault that lives and does not answer may not do its work: the old one comes back, if there is one. Else it
    /// is left alone, because nothing would be there in its place.
    fn never_answered(&mut self) {
        let Phase::Running { process, probation: Some(probation), .. } = &self.state.process else { return };
        let failing = process.build.clone();
        let answer = match &probation.answer {
            Answer::Ill(detail) => format!("the last answer was: {detail}"),
            _ => "it was not asked".to_owned(),
        };
        let what = format!("release {} lives but never answered its health URL with 2xx; {answer}", failing);
        let why_not = match self.way_back(&failing) {
            WayBack::To(good) => {
                self.reject(&failing, what);
                self.warn_of_unseen_runtime(&good);
                return self.switch(good, Reason::Failed);
            }
            WayBack::Nowhere => "nothing proved is there to go back to",
            WayBack::Barred(_) => "the data was migrated for it and nothing else may be started on that",
        };
        if let Phase::Running { probation: Some(probation), .. } = &mut self.state.process {
            probation.failed = true;
        }
        self.problem(Concern::Process, Severity::Error, format!("{what}; {why_not}, so it is left running"));
    }

    /// The machine went down while a release was on probation, which begins again; the third time it failed.
    pub(super) fn rebooted_on_trial(&mut self, build: &Build) {
        let checksum = build.checksum;
        let before = self.state.trial_reboots.take().filter(|reboots| reboots.checksum == checksum);
        let count = before.map_or(0, |reboots| reboots.count).saturating_add(1);
        if count >= MAX_TRIAL_REBOOTS && self.state.fallback_for(checksum).is_some() {
            let what = format!("the machine went down {count} times while release {build} was on probation");
            return self.reject(build, what);
        }
        self.state.trial_reboots = Some(TrialReboots { checksum, count });
    }
}
