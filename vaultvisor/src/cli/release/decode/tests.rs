//! When published files are wrong, and what is needed to look at them.

use super::*;

fn check(artifact: Option<&str>, found: Found) -> FileCheck {
    let file = NamedFile {
        version: "1.0".parse().expect("a version"),
        artifact: artifact.map(|name| name.parse().expect("a name")),
        checksum: Checksum([1; 32]),
        uri: None,
    };
    FileCheck { file, url: None, found }
}

#[test]
fn another_file_anywhere_is_refused_and_one_that_is_nowhere_fails() {
    let equal = || Found::Equal { bytes: 3 };
    let other = || Found::Other { checksum: Checksum([2; 32]), bytes: 3 };
    let nothing = || Found::Nothing { reason: "404".to_owned() };
    let exit = |checks: Vec<FileCheck>| judge_files(&checks).err().map(|failure| failure.exit);
    assert_eq!(exit(vec![]), None);
    assert_eq!(exit(vec![check(None, equal())]), None);
    assert_eq!(exit(vec![check(None, nothing()), check(None, equal())]), None, "a mirror has it");
    assert_eq!(exit(vec![check(None, equal()), check(None, other())]), Some(Exit::ArtifactRefused));
    assert_eq!(exit(vec![check(None, nothing())]), Some(Exit::Failed));
    let of_another = vec![check(None, equal()), check(Some("args-migration"), nothing())];
    assert_eq!(exit(of_another), Some(Exit::Failed));
}

#[test]
fn checking_files_needs_places_and_their_names() {
    let with_network: UrlTemplate = "https://example.org/{network}".parse().expect("good");
    assert!(matches!(check_templates(&[], Some("dev")), Err(DecodeInputError::NoReleaseUrl)));
    let one = std::slice::from_ref(&with_network);
    assert!(matches!(check_templates(one, None), Err(DecodeInputError::NoNetworkName { .. })));
    assert!(check_templates(one, Some("dev")).is_ok());
}
