//! Other supervisors, as Debian ships them, each with a configuration of its own in a temporary folder and as a child
//! of ours. Their system services are not touched.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use integration_tests::child::{Child, Signal};
use tempfile::TempDir;

use crate::processes;

/// How long a peer is given to end what it supervises before that is killed.
const END: Duration = Duration::from_secs(10);

/// Who is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Supervisor,
    Runit,
    S6,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Supervisor, Kind::Runit, Kind::S6];

/// What is supervised: a program with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Runit => "runit",
            Self::S6 => "s6",
        }
    }

    fn daemon(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisord",
            Self::Runit => "runsvdir",
            Self::S6 => "s6-svscan",
        }
    }

    /// Whether it can be compared with, or why not.
    pub(crate) fn is_installed(self) -> Result<(), String> {
        match find(self.daemon()) {
            Some(_) => Ok(()),
            None => Err("not installed".to_owned()),
        }
    }
}

/// A program on the `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A configuration of a peer, which may be started. Dropped: nothing is left of it.
#[derive(Debug)]
pub(crate) struct Site {
    kind: Kind,
    folder: TempDir,
}

impl Site {
    /// Has the peer supervise a copy of this program in each of these services, which may use the site's folder.
    pub(crate) fn new(kind: Kind, program: &[u8], services: impl FnOnce(&Path) -> Vec<Service>) -> Self {
        let folder = tempfile::Builder::new().prefix("peer-").tempdir().expect("a temporary folder");
        let site = Self { kind, folder };
        executable(&site.program(), program);
        fs::create_dir(site.services()).expect("the temporary folder is ours");
        let services = &services(site.folder());
        match kind {
            Kind::Supervisor => site.configure_supervisor(services),
            Kind::Runit | Kind::S6 => services.iter().for_each(|service| site.configure_folder(service)),
        }
        site
    }

    /// Has the peer supervise test vaults of these names, each with a ledger of its own.
    pub(crate) fn of_test_vaults(kind: Kind, program: &[u8], names: &[&str]) -> Self {
        let args = |folder: &Path, name: &str| {
            vec!["--ledger".to_owned(), ledger(folder, name).display().to_string()]
        };
        Self::new(kind, program, |folder| {
            names.iter().map(|name| Service { name: (*name).to_owned(), args: args(folder, name) }).collect()
        })
    }

    /// The ledger of a test vault.
    pub(crate) fn ledger(&self, name: &str) -> PathBuf {
        ledger(self.folder(), name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The copy that is supervised.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder().join("vault")
    }

    fn services(&self) -> PathBuf {
        self.folder().join("services")
    }

    fn configuration(&self) -> PathBuf {
        self.folder().join("supervisord.conf")
    }

    fn configure_supervisor(&self, services: &[Service]) {
        let folder = self.folder().display();
        let mut text = format!(
            "[unix_http_server]\nfile={folder}/socket\n\
             [supervisord]\nnodaemon=true\nlogfile={folder}/supervisord.log\npidfile={folder}/supervisord.pid\n\
             childlogdir={folder}\nminfds=4096\n\
             [rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
             [supervisorctl]\nserverurl=unix://{folder}/socket\n"
        );
        for Service { name, args } in services {
            let line = self.command_line(args);
            // `startsecs`: how long it waits before it calls a start a success; our vault may run at once.
            text.push_str(&format!(
                "[program:{name}]\ncommand={line}\nstopsignal=INT\nstartsecs=0\nredirect_stderr=true\n\
                 stdout_logfile={folder}/{name}.log\n"
            ));
        }
        fs::write(self.configuration(), text).expect("the temporary folder is ours");
    }

    /// The folder of a service, the same for runit and s6.
    fn configure_folder(&self, service: &Service) {
        let folder = self.services().join(&service.name);
        fs::create_dir(&folder).expect("the temporary folder is ours");
        let line = self.command_line(&service.args);
        // Without their log services, which would be two more processes for each vault.
        let script = format!("#!/bin/sh\nexec {line} >/dev/null 2>&1\n");
        executable(&folder.join("run"), script.as_bytes());
    }

    /// No argument of ours needs quotes.
    fn command_line(&self, args: &[String]) -> String {
        let program = self.program().display().to_string();
        std::iter::once(&program).chain(args).map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Starts the peer, which starts its services.
    pub(crate) fn start(&self) -> Running<'_> {
        let mut command = Command::new(self.kind.daemon());
        match self.kind {
            Kind::Supervisor => command.arg("-n").arg("-c").arg(self.configuration()),
            Kind::Runit => command.arg("-P").arg(self.services()),
            // By default it takes no more than 500.
            Kind::S6 => command.args(["-c", "1000"]).arg(self.services()),
        };
        command.current_dir(self.folder());
        Running { site: self, daemon: Child::spawn(self.kind.name(), command, self.folder()) }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        processes::end_all(self.folder());
    }
}

/// A peer that runs. Dropped: it and its services have ended.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    site: &'a Site,
    daemon: Child,
}

impl Running<'_> {
    /// Asks it to restart a service, by its own command.
    pub(crate) fn restart(&self, service: &str) {
        let folder = self.site.services().join(service);
        let mut command = match self.site.kind {
            Kind::Supervisor => {
                let mut command = Command::new("supervisorctl");
                command.arg("-c").arg(self.site.configuration()).args(["restart", service]);
                command
            }
            Kind::Runit => {
                let mut command = Command::new("sv");
                command.arg("restart").arg(folder);
                command
            }
            Kind::S6 => {
                let mut command = Command::new("s6-svc");
                command.arg("-r").arg(folder);
                command
            }
        };
        let line = format!("{command:?}");
        let output = command.stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
        assert!(output.status.success(), "{line}: {output:?}");
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let signal = match self.site.kind {
            // On SIGHUP it ends its services too; on SIGTERM it would leave them.
            Kind::Runit => Signal::HUP,
            Kind::Supervisor | Kind::S6 => Signal::TERM,
        };
        if self.daemon.ended().is_none() {
            self.daemon.signal(signal);
        }
        let began = std::time::Instant::now();
        while began.elapsed() < END {
            // Reaps it, for one that has ended and was not waited for is there still.
            let has_ended = self.daemon.ended().is_some();
            if has_ended && processes::of(self.site.folder()).is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        processes::end_all(self.site.folder());
    }
}

fn executable(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the temporary folder is ours");
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("the file is ours");
}

fn ledger(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.jsonl"))
}
