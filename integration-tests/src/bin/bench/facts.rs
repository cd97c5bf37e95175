//! The machine's facts, without which no figure means anything.

use std::{fs, path::Path, process::Command};

use serde::Serialize;

/// What the figures depend on.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    cpu: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    filesystem: String,
    /// One, five and fifteen minutes before the run: other work on the machine makes every figure worse.
    load_before: String,
    at: String,
}

impl Facts {
    /// Of this machine, and of the filesystem that a folder lies on.
    pub(crate) fn gather(folder: &Path) -> Self {
        let cpu = after_colon("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
        let memory_kib: Option<u64> = after_colon("/proc/meminfo", "MemTotal")
            .and_then(|total| total.split_whitespace().next()?.parse().ok());
        let filesystem = printed(Command::new("df").args(["--output=fstype,source"]).arg(folder));
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib.unwrap_or_default() / 1024,
            kernel: printed(Command::new("uname").args(["--kernel-release", "--machine"])),
            filesystem: filesystem.lines().nth(1).unwrap_or("unknown").to_owned(),
            load_before: fs::read_to_string("/proc/loadavg")
                .map(|load| load.split(' ').take(3).collect::<Vec<_>>().join(" "))
                .unwrap_or_default(),
            at: printed(Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%SZ"])),
        }
    }

    pub(crate) fn print(&self) {
        let Self { cpu, cores, memory_mib, kernel, filesystem, load_before, at } = self;
        println!("processor   {cpu}, {cores} cores");
        println!("memory      {memory_mib} MiB");
        println!("kernel      {kernel}");
        println!("filesystem  {filesystem}");
        println!("load before {load_before}");
        println!("at          {at}");
    }
}

fn after_colon(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn printed(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_else(|| "unknown".to_owned())
}
