//! `vaultvisor init`, `completions` and `man` as they are called.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output, Stdio},
};

fn vaultvisor(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultvisor"));
    for name in ["VAULTVISOR_CONFIG", "VAULTVISOR_HOME", "VAULTVISOR_HTTP", "VAULTVISOR_LOG"] {
        command.env_remove(name);
    }
    // Not a terminal: nobody is asked.
    command.current_dir(folder).args(args).stdin(Stdio::null()).output().expect("runs")
}

fn exited(output: &Output, code: i32) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8(text).expect("text");
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

/// Flags for a vault of a development chain, in this folder.
fn flags(folder: &Path) -> Vec<String> {
    let home = folder.join("state/home").display().to_string();
    let locks = folder.join("locks").display().to_string();
    let flags = ["init", "--network", "dev", "--home", &home, "--lock-dir", &locks, "--endpoint"];
    let more = ["ws://127.0.0.1:9944", "--release-url", "http://127.0.0.1:8080/{version}", "--http"];
    let args = ["127.0.0.1:9616", "--", "--keyfile", "/etc/key file.json"];
    [&flags[..], &more, &args].concat().into_iter().map(str::to_owned).collect()
}

fn init(folder: &Path) -> Output {
    let flags = flags(folder);
    vaultvisor(folder, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn init_writes_a_configuration_that_works_and_private_folders() {
    let folder = tempfile::tempdir().expect("folder");
    let said = exited(&init(folder.path()), 0);
    let config = folder.path().join("vaultvisor.json");
    assert!(said.contains(&config.display().to_string()), "{said}");
    assert_eq!(mode(&config), 0o600, "arguments may hold secrets");
    assert_eq!(mode(&folder.path().join("state/home")), 0o700);
    assert_eq!(mode(&folder.path().join("locks")), 0o700);
    let status = vaultvisor(folder.path(), &["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("it was taken");
    assert_eq!(status["vaults"][0]["name"], "dev-1");
    let written: serde_json::Value =
        serde_json::from_slice(&fs::read(&config).expect("there")).expect("JSON");
    assert_eq!(written["vaults"]["dev-1"]["args"], serde_json::json!(["--keyfile", "/etc/key file.json"]));
}

#[test]
fn init_never_changes_what_is_there() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("vaultvisor.json");
    fs::write(&config, "precious").expect("written");
    let said = exited(&init(folder.path()), 2);
    assert!(said.contains(&config.display().to_string()) && said.contains("--config"), "{said}");
    assert_eq!(fs::read(&config).expect("there"), b"precious");
    assert_eq!(names_in(folder.path()), ["vaultvisor.json"], "no folder is made either");

    fs::remove_file(&config).expect("ours");
    symlink(folder.path().join("elsewhere"), &config).expect("a link that leads nowhere");
    exited(&init(folder.path()), 2);
    assert_eq!(names_in(folder.path()), ["vaultvisor.json"]);
}

#[test]
fn init_writes_nothing_that_would_be_refused_and_says_all_that_is_wrong() {
    let folder = tempfile::tempdir().expect("folder");
    let said = exited(&vaultvisor(folder.path(), &["init"]), 2);
    assert!(said.contains("--network: is missing"), "{said}");
    let args = ["init", "--network", "kintsugi", "--home", "relative", "--endpoint", "http://x"];
    let said = exited(&vaultvisor(folder.path(), &args), 2);
    for place in ["home:", "networks.kintsugi.endpoints[0]:", "vaults.kintsugi-1.account:"] {
        assert!(said.contains(place), "{place} is not in {said}");
    }
    assert_eq!(names_in(folder.path()), [""; 0]);
}

#[test]
fn init_uses_no_home_that_others_can_write() {
    let folder = tempfile::tempdir().expect("folder");
    let home = folder.path().join("state/home");
    fs::create_dir_all(&home).expect("made");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).expect("ours");
    let said = exited(&init(folder.path()), 2);
    assert!(said.contains("not safe"), "{said}");
    assert_eq!(names_in(folder.path()), ["state"], "no configuration that would not run");
}

#[test]
fn completions_and_manual_go_to_stdout() {
    let folder = tempfile::tempdir().expect("folder");
    for shell in ["bash", "zsh", "fish"] {
        let said = exited(&vaultvisor(folder.path(), &["completions", shell]), 0);
        assert!(said.contains("vaultvisor") && said.contains("override"), "{shell}");
    }
    exited(&vaultvisor(folder.path(), &["completions", "cmd.exe"]), 2);
    let page = exited(&vaultvisor(folder.path(), &["man"]), 0);
    assert!(page.contains(".TH vaultvisor 1"), "{page}");
}
