//! Whether the files that a release names are published, byte for byte.
//!
//! Every place where a file may be is asked, not only the first that has it: a mirror with other bytes is worth
//! knowing before a vote. Nothing is kept and nothing is run.

use url::Url;

use super::{
    transfer::{FetchError, Transfer},
    url::{Filling, UrlTemplate, stated},
};
use crate::{
    error_chain::Chained,
    release::{ArtifactName, Artifacts, Checksum, StatedUri, Version},
};

/// A file that a release names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The release tag.
    pub version: Version,
    /// Which file of it; `None` is the binary.
    pub artifact: Option<ArtifactName>,
    /// The SHA-256 that it should have.
    pub checksum: Checksum,
    /// A place that is stated with it.
    pub uri: Option<StatedUri>,
}

impl NamedFile {
    /// All files of a release, of every platform. A stated place is the binary's.
    pub fn of(
        version: &Version,
        binary: Checksum,
        uri: Option<&StatedUri>,
        artifacts: &Artifacts,
    ) -> impl Iterator<Item = Self> {
        let binary = Self { version: version.clone(), artifact: None, checksum: binary, uri: uri.cloned() };
        let artifacts = artifacts.iter().map(|(name, checksum)| Self {
            version: version.clone(),
            artifact: Some(name.clone()),
            checksum: *checksum,
            uri: None,
        });
        std::iter::once(binary).chain(artifacts)
    }
}

/// What is at one place.
#[derive(Debug)]
pub struct FileCheck {
    /// The file.
    pub file: NamedFile,
    /// The place; `None` if no release URL is one for this file, or the stated one is not allowed.
    pub url: Option<Url>,
    /// What was found.
    pub found: Found,
}

/// What was found at a place.
#[derive(Debug)]
pub enum Found {
    /// The file.
    Equal {
        /// Its length.
        bytes: u64,
    },
    /// Something else.
    Other {
        /// Its SHA-256.
        checksum: Checksum,
        /// Its length.
        bytes: u64,
    },
    /// Something that nobody would take whatever its checksum is: too large, say, or elsewhere than it may be.
    Refused {
        /// Why.
        reason: String,
    },
    /// Nothing, or nothing that could be read to its end.
    Nothing {
        /// Why.
        reason: String,
    },
}

/// Looks at every place of every file.
pub async fn check_files(
    transfer: &Transfer,
    files: &[NamedFile],
    templates: &[UrlTemplate],
    network: &str,
) -> Vec<FileCheck> {
    let mut checks = Vec::new();
    for file in files {
        let filling = Filling { version: &file.version, network, checksum: file.checksum };
        let before = checks.len();
        if let Some(uri) = &file.uri {
            let (url, found) = match stated(uri) {
                Ok(url) => {
                    let found = look(transfer, &url, file.checksum).await;
                    (Some(url), found)
                }
                Err(error) => (None, Found::Nothing { reason: Chained(&error).to_string() }),
            };
            checks.push(FileCheck { file: file.clone(), url, found });
        }
        for template in templates {
            let (url, found) = match template.fill_artifact(filling, file.artifact.as_ref()) {
                None => continue,
                Some(Ok(url)) => {
                    let found = look(transfer, &url, file.checksum).await;
                    (Some(url), found)
                }
                Some(Err(error)) => (None, Found::Nothing { reason: Chained(&error).to_string() }),
            };
            checks.push(FileCheck { file: file.clone(), url, found });
        }
        if checks.len() == before {
            let reason =
                "no release URL tells this file from the others; one with {artifact}, {target} or {checksum} would"
                    .to_owned();
            checks.push(FileCheck { file: file.clone(), url: None, found: Found::Nothing { reason } });
        }
    }
    checks
}

async fn look(transfer: &Transfer, url: &Url, expected: Checksum) -> Found {
    match transfer.checksum_of(url).await {
        Ok((checksum, bytes)) if checksum == expected => Found::Equal { bytes },
        Ok((checksum, bytes)) => Found::Other { checksum, bytes },
        // A server that has nothing there may have it later.
        Err(error) if error.is_refusal() && !matches!(error, FetchError::Status { .. }) => {
            Found::Refused { reason: Chained(&error).to_string() }
        }
        Err(error) => Found::Nothing { reason: Chained(&error).to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::transfer::Limits;

    #[tokio::test]
    async fn every_mirror_is_looked_at_and_says_what_it_has() {
        let folder = tempfile::tempdir().expect("folder");
        for (name, bytes) in [("right", b"abc"), ("wrong", b"abd")] {
            std::fs::create_dir(folder.path().join(name)).expect("folder");
            std::fs::write(folder.path().join(name).join("1.0"), bytes).expect("written");
        }
        let template = |name: &str| {
            let text = format!("file://{}/{name}/{{version}}", folder.path().display());
            text.parse::<UrlTemplate>().expect("good")
        };
        let templates = ["wrong", "missing", "right"].map(template);
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let binary = NamedFile {
            version: "1.0".parse().expect("a version"),
            artifact: None,
            checksum: abc.parse().expect("a checksum"),
            uri: None,
        };
        let migration =
            NamedFile { artifact: Some("args-migration".parse().expect("a name")), ..binary.clone() };
        let transfer = Transfer::new(Limits::default()).expect("client");
        let checks = check_files(&transfer, &[binary.clone(), migration], &templates, "dev").await;
        let found: Vec<&Found> = checks.iter().map(|check| &check.found).collect();
        assert!(
            matches!(
                found[..],
                [
                    Found::Other { bytes: 3, .. },
                    Found::Nothing { .. },
                    Found::Equal { bytes: 3 },
                    Found::Nothing { .. }
                ]
            ),
            "{found:?}"
        );
        assert_eq!(checks[3].url, None, "the binary is not taken for the migration");

        let capped = Transfer::new(Limits { max_bytes: 2, ..Limits::default() }).expect("client");
        let checks = check_files(&capped, std::slice::from_ref(&binary), &templates, "dev").await;
        let found: Vec<&Found> = checks.iter().map(|check| &check.found).collect();
        assert!(
            matches!(found[..], [Found::Refused { .. }, Found::Nothing { .. }, Found::Refused { .. }]),
            "too large for a vault: {found:?}"
        );

        // A place that a chain may not name is told of and not looked at.
        let uri = StatedUri::from_bytes(format!("file://{}/right/1.0", folder.path().display()).as_bytes());
        let checks = check_files(&transfer, &[NamedFile { uri, ..binary }], &[], "dev").await;
        assert!(
            matches!(&checks[..], [FileCheck { url: None, found: Found::Nothing { reason }, .. }]
            if reason.contains("not allowed")),
            "{checks:?}"
        );
    }
}
