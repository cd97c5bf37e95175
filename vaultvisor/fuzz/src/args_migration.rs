//! What a release's `args-migration` printed, as it is kept in `args/<n>.json`.

use std::fs;

use vaultvisor::migrate::args::Revisions;

use super::{home::Home, is_refused};

/// What is taken are arguments that a program can be started with, and they are kept and come back as the same; all
/// else is refused with the file's name.
pub fn holds(data: &[u8]) {
    thread_local!(static HOME: Home = Home::new());
    HOME.with(|home| {
        let (printed, kept) = (home.path().join("printed"), home.path().join("kept"));
        for folder in [&printed, &kept] {
            // Not there before the first time.
            let _ = fs::remove_dir_all(folder);
        }
        fs::create_dir_all(printed.join("args")).expect("the folder is ours");
        home.write("printed/args/1.json", data);
        let args = match Revisions::new(&printed).load(1) {
            Ok(args) => args,
            Err(error) => return is_refused(&error, "args/1.json"),
        };
        assert!(args.len() <= 4096 && args.iter().map(|arg| arg.len() + 1).sum::<usize>() <= 128 * 1024);
        assert!(!args.iter().any(|arg| arg.contains('\0')), "no program can have that");
        let kept = Revisions::new(&kept);
        for _ in 0..2 {
            assert_eq!(kept.store(&args).expect("there is room"), 1, "the same arguments are one revision");
            assert_eq!(kept.load(1).expect("what is written is read"), args);
        }
    });
}
