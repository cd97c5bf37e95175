//! Everything that Vaultvisor reads from outside, in every test run: the corpus of the fuzz targets, and some thousand
//! changes of it that are the same in each run. The long search is `scripts/fuzz.sh`; see docs/development.md.

// The fuzz project is a workspace of its own, in which this is a library.
#[allow(unreachable_pub)]
#[path = "../fuzz/src/lib.rs"]
mod promises;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// So few that this takes seconds, and still more than a second's fuzzing of each.
const CHANGES: u64 = 8000;
/// For readers of files, processes and connections, which take a fraction of a millisecond each.
const CHANGES_OF_SLOW_ONES: u64 = 2000;
/// Changes grow a text, and nothing is learnt from the size alone.
const MAX_BYTES: usize = 16 * 1024;
/// All of it is read by everybody who clones the repository.
const MAX_CORPUS_BYTES: u64 = 200 * 1024;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<String> = entries.map(|entry| name(entry).into_string().expect("UTF-8")).collect();
    // The order of a folder differs from one disk to the next.
    names.sort();
    names
}

/// SplitMix64: small and the same everywhere.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end.max(1) as u64) as usize
    }

    /// A part of these bytes.
    fn part(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let length = self.below(bytes.len() - start + 1).min(1 + self.below(64));
        start..start + length
    }
}

/// What breaks readers: the ends of numbers, of texts, of nesting and of what fits.
const ODD: [&[u8]; 24] = [
    b"",
    b"0",
    b"-1",
    b"1e400",
    b"18446744073709551615",
    b"4294967296",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"\"\"",
    b"\"\\u001b[2J\"",
    b"\\ud800",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b"\xff\xff\xff\xff",
    b"../",
    b"%2e%2e",
    b"{version}",
    b"{",
    b":",
    "\u{202e}".as_bytes(),
];

/// One to four changes of a text, some of them with parts of another.
fn changed(text: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut text = text.to_owned();
    for _ in 0..=rng.below(4) {
        let part = rng.part(&text);
        match rng.below(7) {
            0 => drop(text.splice(part, [])),
            1 => drop(text.splice(part.start..part.start, other[rng.part(other)].iter().copied())),
            2 => drop(text.splice(part, other[rng.part(other)].iter().copied())),
            3 => drop(text.splice(part, ODD[rng.below(ODD.len())].iter().copied())),
            4 => text.truncate(part.start),
            5 => {
                let twice = text[part.clone()].to_owned();
                drop(text.splice(part.start..part.start, twice));
            }
            _ => {
                if let Some(byte) = text.get_mut(part.start) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
    }
    text.truncate(MAX_BYTES);
    text
}

/// Prints what was read when a promise was broken, so that it can become a file of the corpus.
struct Told<'a>(&'a str, &'a [u8]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: a promise was broken by b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn holds(target: &str, promise: fn(&[u8]), changes: u64) {
    let folder = corpus().join(target);
    let read = |name: &String| fs::read(folder.join(name)).expect("a file");
    let names = names_in(&folder);
    let texts: Vec<Vec<u8>> = names.iter().map(read).collect();
    assert!(!texts.is_empty(), "{target} has no corpus");
    for (name, text) in names.iter().zip(&texts) {
        let _told = Told(name, text);
        promise(text);
    }
    let mut rng = Rng(1);
    for _ in 0..changes {
        let (text, other) = (&texts[rng.below(texts.len())], &texts[rng.below(texts.len())]);
        let text = changed(text, other, &mut rng);
        let _told = Told(target, &text);
        promise(&text);
    }
}

macro_rules! promises {
    ($(fn $promise:ident() of $target:ident, $changes:expr;)*) => {
        $(
            #[test]
            fn $promise() {
                holds(stringify!($target), promises::$target::holds, $changes);
            }
        )*
        const TARGETS: &[&str] = &[$(stringify!($target)),*];
    };
}

promises! {
    fn what_an_args_migration_prints_is_arguments_or_is_refused() of args_migration, CHANGES_OF_SLOW_ONES;
    fn a_chain_specification_is_one_or_is_refused_whatever_is_in_it() of chain_spec, CHANGES_OF_SLOW_ONES;
    fn a_value_of_clients_info_is_decoded_exactly_or_refused() of clients_info_record, CHANGES;
    fn a_configuration_is_sound_in_any_order_or_each_problem_is_told() of config_file, CHANGES;
    fn t31_garbage_on_the_control_socket_is_refused_in_words() of control_request, CHANGES;
    fn a_damaged_line_of_the_history_costs_no_other() of history_file, CHANGES_OF_SLOW_ONES;
    fn t31_garbage_on_the_http_port_is_4xx_and_tells_nothing() of http_request, CHANGES_OF_SLOW_ONES;
    fn a_networks_file_comes_back_or_is_refused() of network_file, CHANGES_OF_SLOW_ONES;
    fn the_records_of_a_run_come_back_and_their_words_are_harmless() of process_records, CHANGES;
    fn t06_a_damaged_program_is_refused_as_the_releases_fault() of program_headers, CHANGES_OF_SLOW_ONES;
    fn what_a_chain_states_chooses_a_file_and_never_a_place() of release_url, CHANGES;
    fn a_state_file_comes_back_and_is_gone_on_from_or_is_refused() of state_file, CHANGES_OF_SLOW_ONES;
    fn t13_a_value_of_our_record_is_decoded_exactly_or_refused() of vault_release_record, CHANGES;
}

#[test]
fn every_fuzz_target_is_in_every_test_run_with_a_small_corpus() {
    assert_eq!(names_in(&corpus()).iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>(), TARGETS);
    let sources = names_in(&corpus().with_file_name("fuzz_targets"));
    assert_eq!(sources, TARGETS.iter().map(|target| format!("{target}.rs")).collect::<Vec<_>>());
    let size = |path: PathBuf| path.metadata().expect("a file").len();
    let folders = TARGETS.iter().map(|target| corpus().join(target));
    let sizes =
        folders.flat_map(|folder| names_in(&folder).into_iter().map(move |name| size(folder.join(name))));
    let bytes: u64 = sizes.sum();
    assert!(bytes <= MAX_CORPUS_BYTES, "{bytes} bytes of corpus");
}
