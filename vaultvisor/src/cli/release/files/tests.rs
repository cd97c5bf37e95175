//! When published files are wrong, and what is needed to look at them.

use std::num::NonZeroUsize;

use super::*;
use crate::{
    artifact::progress::Lines,
    chain::{SourceSettings, records::Records},
};

fn file(artifact: Option<&str>) -> NamedFile {
    NamedFile {
        version: "1.0".parse().expect("a version"),
        artifact: artifact.map(|name| name.parse().expect("a name")),
        checksum: Checksum([1; 32]),
        uri: None,
    }
}

fn check(artifact: Option<&str>, found: Found) -> FileCheck {
    FileCheck { file: file(artifact), url: None, found }
}

fn chain(network: Option<&str>) -> Chain {
    Chain {
        source: SourceSettings {
            network: "dev".to_owned(),
            endpoints: Vec::new(),
            genesis: None,
            records: Records::default(),
            agreement: NonZeroUsize::MIN,
            known: None,
            light_client: None,
        },
        network: network.map(str::to_owned),
        release_urls: Vec::new(),
        max_artifact_bytes: 10,
    }
}

#[test]
fn another_file_anywhere_is_refused_and_one_that_is_nowhere_fails() {
    let equal = || Found::Equal { bytes: 3 };
    let other = || Found::Other { checksum: Checksum([2; 32]), bytes: 3 };
    let refused = || Found::Refused { reason: "too large".to_owned() };
    let nothing = || Found::Nothing { reason: "404".to_owned() };
    let exit = |checks: Vec<FileCheck>| judge(&checks).err().map(|failure| failure.exit);
    assert_eq!(exit(vec![]), None);
    assert_eq!(exit(vec![check(None, equal())]), None);
    assert_eq!(exit(vec![check(None, nothing()), check(None, equal())]), None, "a mirror has it");
    assert_eq!(exit(vec![check(None, equal()), check(None, other())]), Some(Exit::ArtifactRefused));
    assert_eq!(exit(vec![check(None, equal()), check(None, refused())]), Some(Exit::ArtifactRefused));
    assert_eq!(exit(vec![check(None, nothing())]), Some(Exit::Failed));
    let of_another = vec![check(None, equal()), check(Some("args-migration"), nothing())];
    assert_eq!(exit(of_another), Some(Exit::Failed));
}

#[tokio::test]
async fn looking_for_files_needs_places_and_their_names() {
    let exit = |failure: Failure| failure.exit;
    let with_network: UrlTemplate = "https://example.org/{network}".parse().expect("good");
    let nameless = Places::of(&chain(None), vec![with_network.clone()]);
    assert_eq!(nameless.err().map(exit), Some(Exit::Usage));
    assert!(Places::of(&chain(Some("dev")), vec![with_network]).is_ok());

    let nowhere = Places::of(&chain(Some("dev")), Vec::new()).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(nowhere.look_for(&[file(None)], Arc::new(Lines)).await.err().map(exit), Some(Exit::Usage));
    assert!(nowhere.look_for(&[], Arc::new(Lines)).await.is_ok());
}

#[test]
fn one_line_tells_all_of_one_place_whatever_a_server_said() {
    let other = check(None, Found::Other { checksum: Checksum([2; 32]), bytes: 3 });
    let (expected, found) = ("01".repeat(32), "02".repeat(32));
    let told = format!("! OTHER    binary of 1.0 (3 bytes), expected {expected}, found {found}");
    assert_eq!(line(&other), told);
    let hostile = check(Some("args-migration"), Found::Nothing { reason: "no\n \u{1b}[2Jequal".to_owned() });
    assert_eq!(line(&hostile), "! NOTHING  args-migration of 1.0, no  [2Jequal");
}
