//! Rule 9, the operator: hold, resume, override, retry, restart. Each command gets one answer.

use super::{
    Action, Command, Deciding, Kind, Severity,
    state::{Build, Fetch, Hold, Phase, Reason, Staging, Wait},
};

type Answer = Result<String, String>;

impl Deciding<'_> {
    pub(super) fn operator(&mut self, command: &Command) {
        let answer = if self.state.shutting_down {
            Err("vaultvisor is ending; say it again when it runs".to_owned())
        } else {
            match command {
                Command::Hold { reason } => self.hold(reason.clone()),
                Command::Resume => self.resume(),
                Command::Override { build } => self.override_with(build),
                Command::Retry => self.retry(),
                Command::Restart => self.restart(),
            }
        };
        let (accepted, text) = match answer {
            Ok(text) => (true, text),
            Err(text) => (false, text),
        };
        if accepted {
            self.report(Severity::Info, format!("operator: {text}"));
        }
        self.actions.push(Action::Answer { accepted, text });
    }

    /// Freezes decisions, not supervision: what runs is kept running, started again and, if it fails its probation,
    /// replaced by what proved itself; nothing else is switched to. A running switch finishes first.
    fn hold(&mut self, reason: Option<String>) -> Answer {
        let text = match &reason {
            Some(reason) => format!("held: {reason}"),
            None => "held".to_owned(),
        };
        self.note(Kind::Held, None, None, text.clone());
        self.state.hold = Some(Hold { reason, since_unix_secs: self.now.unix_secs() });
        Ok(match self.state.is_switching() {
            true => format!("{text}, as soon as the switch that is under way has ended"),
            false => text,
        })
    }

    fn resume(&mut self) -> Answer {
        if self.state.hold.take().is_none() {
            return Err("it is not held".to_owned());
        }
        self.note(Kind::Resumed, None, None, "resumed");
        Ok("resumed".to_owned())
    }

    /// The operator's word goes before a hold and before a rejection.
    fn override_with(&mut self, build: &Build) -> Answer {
        let now = self.now.moment;
        for rejection in &mut self.state.rejected {
            if rejection.build.checksum == build.checksum {
                rejection.wait = Wait::over(now);
            }
        }
        let checksum = build.checksum;
        self.state.unproved.retain(|unproved| *unproved != checksum);
        self.state.override_build = Some(build.clone());
        self.state.fetch = Fetch::Ready { checksum, attempt: 0 };
        let text = format!("{build} is run until the chain's next statement");
        self.note(Kind::Overridden, None, Some(build), text.clone());
        Ok(text)
    }

    fn retry(&mut self) -> Answer {
        let over = Wait::over(self.now.moment);
        let mut retried = Vec::new();
        let chosen = self.state.chosen();
        if let Some(chosen) = &chosen
            && self.state.current_checksum() != Some(chosen.checksum)
            && let Some(rejection) =
                self.state.rejected.iter_mut().find(|rejection| rejection.build.checksum == chosen.checksum)
            && !rejection.wait.is_over(self.now.moment)
        {
            rejection.wait = over;
            retried.push(format!("release {chosen}"));
        }
        for fetch in [&mut self.state.fetch, &mut self.state.pending_fetch] {
            if let Fetch::Failed { checksum, wait, .. } = fetch {
                *wait = over;
                retried.push(format!("the download of {checksum}"));
            }
        }
        if let Staging::Failed { stage, wait, .. } = &mut self.state.staging {
            *wait = over;
            retried.push(format!("making release {} ready", stage.to));
        }
        match &mut self.state.process {
            Phase::Barred { failed, .. } => {
                let failed = failed.clone();
                for rejection in &mut self.state.rejected {
                    if rejection.build.checksum == failed.checksum {
                        rejection.wait = over;
                    }
                }
                retried = vec![format!("release {failed} on its data")];
                self.state.process = Phase::Starting { build: failed, wait: over, attempt: 0 };
            }
            Phase::Starting { build, wait, .. } => {
                *wait = over;
                retried.push(format!("the start of {build}"));
            }
            Phase::Blocked { wait, .. } => {
                *wait = over;
                retried.push("the lock".to_owned());
            }
            _ => {}
        }
        if retried.is_empty() {
            return Err("nothing waits to be tried again".to_owned());
        }
        let text = format!("tried again: {}", retried.join(", "));
        self.note(Kind::Retried, None, chosen.as_ref(), text.clone());
        Ok(text)
    }

    /// No crash, and nothing is counted.
    fn restart(&mut self) -> Answer {
        match &mut self.state.process {
            Phase::Running { process, .. } => {
                let build = process.build.clone();
                let text = format!("restarting {build}");
                self.note(Kind::Restarted, None, Some(&build), text.clone());
                self.switch(build, Reason::Restart);
                Ok(text)
            }
            Phase::Starting { build, wait, .. } => {
                *wait = Wait::over(self.now.moment);
                Ok(format!("starting {build} now"))
            }
            Phase::Switching { .. } | Phase::Launching { .. } | Phase::RollingBack { .. } => {
                Err("it is being started already".to_owned())
            }
            _ => Err("nothing runs that could be started again".to_owned()),
        }
    }
}
