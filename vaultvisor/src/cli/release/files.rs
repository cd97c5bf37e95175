//! What a person, or a program, is told of published files, and what that means for the exit code.

use std::sync::Arc;

use serde::Serialize;

use super::{Chain, Exit, Failure};
use crate::{
    artifact::{
        progress::Reporter,
        published::{FileCheck, Found, NamedFile, check_files},
        transfer::{Limits, Transfer},
        url::UrlTemplate,
    },
    release::Checksum,
};

/// Why files cannot be looked for.
#[derive(Debug, thiserror::Error)]
enum PlacesError {
    #[error(
        "it is not known where the files are: expected --network with release URLs in the configuration, or \
         --release-url"
    )]
    NoReleaseUrl,
    #[error("{url} has {{network}}, but no --network says which; write its name into the URL")]
    NoNetworkName { url: String },
}

/// A file that is not what was stated.
#[derive(Debug, thiserror::Error)]
enum FilesError {
    #[error("published is not what was stated, or what no vault would take: {}", .0.join(", "))]
    Differ(Vec<String>),
    #[error("not found at any place: {}", .0.join(", "))]
    Missing(Vec<String>),
}

/// Where files are looked for.
pub(super) struct Places {
    templates: Vec<UrlTemplate>,
    network: Option<String>,
    max_bytes: u64,
}

impl Places {
    /// These URLs, or if there are none, the network's. Each must say all of where a file is.
    pub(super) fn of(chain: &Chain, release_urls: Vec<UrlTemplate>) -> Result<Self, Failure> {
        let templates = if release_urls.is_empty() { chain.release_urls.clone() } else { release_urls };
        let network = chain.network.clone();
        let nameless = templates.iter().find(|template| network.is_none() && template.has("network"));
        if let Some(template) = nameless {
            return Err(Exit::Usage.failure()(PlacesError::NoNetworkName { url: template.to_string() }));
        }
        Ok(Self { templates, network, max_bytes: chain.max_artifact_bytes })
    }

    /// Downloads every file from every place. Nothing of it is kept.
    ///
    /// Refuses to look nowhere, unless every file comes with a place of its own.
    pub(super) async fn look_for(
        &self,
        files: &[NamedFile],
        reporter: Arc<dyn Reporter>,
    ) -> Result<Vec<FileCheck>, Failure> {
        if self.templates.is_empty() && files.iter().any(|file| file.uri.is_none()) {
            return Err(Exit::Usage.failure()(PlacesError::NoReleaseUrl));
        }
        let transfer = Transfer::new(Limits { max_bytes: self.max_bytes, ..Limits::default() })?;
        let transfer = transfer.reporting_to(reporter);
        let network = self.network.as_deref().unwrap_or_default();
        Ok(check_files(&transfer, files, &self.templates, network).await)
    }
}

/// A wrong file anywhere is a refusal; a file that is nowhere was not checked.
pub(super) fn judge(checks: &[FileCheck]) -> Result<(), Failure> {
    let named = |is_one: &dyn Fn(&FileCheck) -> bool| {
        let found = checks.iter().filter(|check| is_one(check));
        let mut names: Vec<String> =
            found.map(|check| format!("{} of {}", name(&check.file), check.file.version)).collect();
        names.dedup();
        names
    };
    let is_somewhere = |file: &NamedFile| {
        checks.iter().any(|check| check.file == *file && matches!(check.found, Found::Equal { .. }))
    };
    let differ = named(&|check| matches!(check.found, Found::Other { .. } | Found::Refused { .. }));
    if !differ.is_empty() {
        return Err(Exit::ArtifactRefused.failure()(FilesError::Differ(differ)));
    }
    let missing = named(&|check| !is_somewhere(&check.file));
    if missing.is_empty() { Ok(()) } else { Err(FilesError::Missing(missing).into()) }
}

fn name(file: &NamedFile) -> &str {
    file.artifact.as_ref().map_or("binary", |name| name.as_str())
}

/// What was found at one place, for programs.
#[derive(Serialize)]
pub(super) struct FileJson<'a> {
    version: &'a str,
    artifact: Option<&'a str>,
    expected: Checksum,
    url: Option<String>,
    /// `equal`, `other`, `refused` or `nothing`.
    result: &'static str,
    found: Option<Checksum>,
    bytes: Option<u64>,
    reason: Option<&'a str>,
}

impl<'a> From<&'a FileCheck> for FileJson<'a> {
    fn from(check: &'a FileCheck) -> Self {
        let (result, found, bytes, reason) = match &check.found {
            Found::Equal { bytes } => ("equal", Some(check.file.checksum), Some(*bytes), None),
            Found::Other { checksum, bytes } => ("other", Some(*checksum), Some(*bytes), None),
            Found::Refused { reason } => ("refused", None, None, Some(reason.as_str())),
            Found::Nothing { reason } => ("nothing", None, None, Some(reason.as_str())),
        };
        Self {
            version: check.file.version.as_str(),
            artifact: check.file.artifact.as_ref().map(|name| name.as_str()),
            expected: check.file.checksum,
            url: check.url.as_ref().map(ToString::to_string),
            result,
            found,
            bytes,
            reason,
        }
    }
}

/// What was found at one place, in one line.
pub(super) fn line(check: &FileCheck) -> String {
    let lines = told(check);
    let unaligned = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let more = lines.iter().skip(1).map(|line| format!(", {}", unaligned(line)));
    let words: String = lines.first().cloned().into_iter().chain(more).collect();
    // A reason may quote a server.
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What was found at one place, for people.
pub(super) fn told(check: &FileCheck) -> Vec<String> {
    let place = check.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
    let file = format!("{} of {}{place}", name(&check.file), check.file.version);
    match &check.found {
        Found::Equal { bytes } => vec![format!("equal      {file} ({bytes} bytes)")],
        Found::Other { checksum, bytes } => vec![
            format!("! OTHER    {file} ({bytes} bytes)"),
            format!("           expected {}", check.file.checksum),
            format!("           found    {checksum}"),
        ],
        Found::Refused { reason } => vec![format!("! REFUSED  {file}"), format!("           {reason}")],
        Found::Nothing { reason } => vec![format!("! NOTHING  {file}"), format!("           {reason}")],
    }
}

#[cfg(test)]
mod tests;
