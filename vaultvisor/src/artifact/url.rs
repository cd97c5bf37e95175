//! Release URLs: templates that are checked when the configuration is read, and filled for one artifact.
//!
//! Every value that is filled in is of a type that cannot hold `/`, `..`, `?` or `#` (see
//! [`crate::release`]), so a chain can choose a file on the configured host but never another place.
//!
//! A record that states a URI of its own does name a place. It may name what a server on the internet serves
//! under the protection of TLS, or one on this machine; never a file of this machine ([`stated`]).

use std::{fmt, str::FromStr};

use url::{Host, Position, Url};

use crate::release::{ArtifactName, Checksum, StatedUri, Version};

/// The platform that vaultvisor itself was built for, which is the one its vaults run on.
pub const TARGET: &str = env!("VAULTVISOR_TARGET");

/// The platform that a release's main checksum is of.
pub const MAIN_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The name of a release's main binary in `{artifact}`.
pub const BINARY: &str = "binary";

/// What the names of artifacts that are binaries for other platforms begin with, before the platform.
pub const BINARY_FOR: &str = "binary-";

/// What a refusal repeats of a URL: release URLs are half as long.
const MAX_QUOTED_CHARS: usize = 200;

const PLACEHOLDERS: [&str; 5] = ["version", "network", "target", "checksum", "artifact"];

/// Why a text is not a release URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL at all.
    #[error("{url:?} is not a URL: {reason}")]
    Syntax {
        /// What was found.
        url: String,
        /// The URL parser's reason.
        reason: String,
    },
    /// A placeholder that nothing fills.
    #[error(
        "{url:?} has the unknown placeholder {{{placeholder}}}, expected one of {{version}}, {{network}}, {{target}}, {{checksum}}, {{artifact}}"
    )]
    Placeholder {
        /// What was found.
        url: String,
        /// The unknown name.
        placeholder: String,
    },
    /// A scheme that does not protect the transfer.
    #[error(
        "{url:?} is not allowed: expected https:, file:, or http: to this machine (127.0.0.1, [::1], localhost)"
    )]
    Scheme {
        /// What was found.
        url: String,
    },
    /// A chain may name less than an operator.
    #[error(
        "the chain names {uri:?} as the place of the binary, which is not allowed: expected an https: URL, or http: to this machine (127.0.0.1, [::1], localhost)"
    )]
    Stated {
        /// What was stated.
        uri: String,
    },
    /// A placeholder in the host part would let the chain choose the server.
    #[error("{url:?} has a placeholder before its path: the host must be fixed")]
    HostPlaceholder {
        /// What was found.
        url: String,
    },
    /// A placeholder that nothing would ever fill, or a brace that was meant to be something else.
    #[error("{url:?} has a brace without its other one, expected placeholders such as {{version}}")]
    Brace {
        /// What was found.
        url: String,
    },
    /// What is filled in would be more than a part of a name.
    #[error(
        "{url:?} has a placeholder within a %-escape or a drive letter: what is filled in could lead to another folder"
    )]
    PartOfAnEscape {
        /// What was found.
        url: String,
    },
    /// A password in the URL would end up in logs.
    #[error(
        "the URL for host {host:?} holds a user name or password: they would end up in logs, so they are refused"
    )]
    Credentials {
        /// The host.
        host: String,
    },
}

/// A release URL with placeholders, known to be of an allowed kind whatever is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate(String);

/// What is filled into a template.
#[derive(Debug, Clone, Copy)]
pub struct Filling<'a> {
    /// The release tag.
    pub version: &'a Version,
    /// The network's name in the configuration.
    pub network: &'a str,
    /// The checksum of the file that is wanted.
    pub checksum: Checksum,
}

impl UrlTemplate {
    fn fill_with(&self, value: impl Fn(&str) -> String) -> String {
        let mut filled = self.0.clone();
        for name in PLACEHOLDERS {
            filled = filled.replace(&format!("{{{name}}}"), &value(name));
        }
        filled
    }

    /// The URL of a release's binary for this machine.
    pub fn fill(&self, filling: Filling<'_>) -> Result<Url, UrlError> {
        self.fill_for(filling, TARGET, BINARY)
    }

    /// The URL of any file of a release, whatever machine this is; `None` names the main binary. Answers `None` when
    /// the template has nothing that would tell this file from the main binary.
    pub fn fill_artifact(
        &self,
        filling: Filling<'_>,
        artifact: Option<&ArtifactName>,
    ) -> Option<Result<Url, UrlError>> {
        let (target, name, told_by) = match artifact.map(ArtifactName::as_str) {
            None => return Some(self.fill_for(filling, MAIN_TARGET, BINARY)),
            Some(name) => match name.strip_prefix(BINARY_FOR) {
                Some(target) => (target, BINARY, "target"),
                None => (MAIN_TARGET, name, "artifact"),
            },
        };
        let is_told = self.has(told_by) || self.has("checksum");
        is_told.then(|| self.fill_for(filling, target, name))
    }

    /// Whether the template has that placeholder.
    pub fn has(&self, placeholder: &str) -> bool {
        self.0.contains(&format!("{{{placeholder}}}"))
    }

    fn fill_for(&self, filling: Filling<'_>, target: &str, artifact: &str) -> Result<Url, UrlError> {
        let filled = self.fill_with(|name| match name {
            "version" => percent_encode_plus(filling.version.as_str()),
            "network" => filling.network.to_owned(),
            "target" => target.to_owned(),
            "checksum" => filling.checksum.to_string(),
            _ => artifact.to_owned(),
        });
        check(&filled)
    }
}

/// GitHub reads a bare `+` in a path as it stands, other servers as a blank; `%2B` is the same everywhere.
fn percent_encode_plus(tag: &str) -> String {
    tag.replace('+', "%2B")
}

fn quoted(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARS).collect()
}

/// Parses a URL of an allowed kind: the rule for what we are configured with and for every redirect.
pub fn check(text: &str) -> Result<Url, UrlError> {
    let url = Url::parse(text)
        .map_err(|error| UrlError::Syntax { url: quoted(text), reason: error.to_string() })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials { host: quoted(url.host_str().unwrap_or_default()) });
    }
    let allowed = match url.scheme() {
        "https" | "file" => true,
        "http" => is_loopback(&url),
        _ => false,
    };
    if allowed { Ok(url) } else { Err(UrlError::Scheme { url: quoted(text) }) }
}

/// The URL that a chain states, if it is of a kind that a chain may name.
///
/// The same rule as for what an operator configures, except for `file:`. An operator who writes that knows what lies
/// there; a chain, or a node that lies about one, could name a pipe that never ends or a file that only this user
/// may read. Nothing but printable ASCII is taken, so that what is fetched is what was read.
pub fn stated(uri: &StatedUri) -> Result<Url, UrlError> {
    let text = uri.as_str();
    let refused = || UrlError::Stated { uri: quoted(text) };
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused());
    }
    match check(text) {
        Ok(url) if url.scheme() == "file" => Err(refused()),
        Err(UrlError::Scheme { .. } | UrlError::Syntax { .. }) => Err(refused()),
        other => other,
    }
}

/// Whether a URL's host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl FromStr for UrlTemplate {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, found) = rest.split_at(at);
            let Some((placeholder, after)) = found.strip_prefix('{').and_then(|it| it.split_once('}')) else {
                return Err(UrlError::Brace { url: quoted(text) });
            };
            if !PLACEHOLDERS.contains(&placeholder) {
                let placeholder = placeholder.chars().take(40).collect();
                return Err(UrlError::Placeholder { url: quoted(text), placeholder });
            }
            // An escape is % and two digits: of these, one or two would be the placeholder's.
            if before.chars().rev().take(2).any(|character| character == '%') {
                return Err(UrlError::PartOfAnEscape { url: quoted(text) });
            }
            rest = after;
        }
        let template = Self(text.to_owned());
        let sample = check(&template.fill_with(|_| "0".into()))?;
        // Different fillings must agree in everything before the path, and in the folders of it.
        let other = check(&template.fill_with(|_| "1".into()))?;
        if sample[..Position::BeforePath] != other[..Position::BeforePath] {
            return Err(UrlError::HostPlaceholder { url: quoted(text) });
        }
        let depth = |url: &Url| url.path_segments().map(Iterator::count);
        if depth(&check(&template.fill_with(|_| "c".into()))?) != depth(&sample) {
            return Err(UrlError::PartOfAnEscape { url: quoted(text) });
        }
        Ok(template)
    }
}

impl fmt::Display for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_is_filled() {
        let template: UrlTemplate =
            "https://example.org/{version}/vault-{network}/{target}/{checksum}/{artifact}"
                .parse()
                .expect("good");
        let version: Version = "1.16.0+a".parse().expect("version");
        let filling = Filling { version: &version, network: "dev", checksum: Checksum([0xab; 32]) };
        let url = template.fill(filling).expect("fills");
        let expected =
            format!("https://example.org/1.16.0%2Ba/vault-dev/{TARGET}/{}/binary", "ab".repeat(32));
        assert_eq!(url.as_str(), expected);
    }

    #[test]
    fn an_artifact_has_a_url_only_where_the_template_tells_it_from_the_binary() {
        let version: Version = "1".parse().expect("version");
        let filling = Filling { version: &version, network: "dev", checksum: Checksum([0xab; 32]) };
        let fill = |template: &str, artifact: Option<&str>| {
            let template: UrlTemplate = format!("https://example.org/{template}").parse().expect("good");
            let artifact = artifact.map(|name| name.parse().expect("a name"));
            let url = template.fill_artifact(filling, artifact.as_ref())?.expect("fills");
            Some(url.path().to_owned())
        };
        assert_eq!(fill("{version}/{target}", None), Some(format!("/1/{MAIN_TARGET}")));
        assert_eq!(fill("{version}/{artifact}", None).as_deref(), Some("/1/binary"));
        assert_eq!(fill("{artifact}", Some("args-migration")).as_deref(), Some("/args-migration"));
        let arm = Some("binary-aarch64-unknown-linux-gnu");
        assert_eq!(fill("{target}/{artifact}", arm).as_deref(), Some("/aarch64-unknown-linux-gnu/binary"));
        assert_eq!(fill("{checksum}", arm), Some(format!("/{}", "ab".repeat(32))));
        for (template, artifact) in [("{version}", "args-migration"), ("{target}", "args-migration")] {
            assert_eq!(fill(template, Some(artifact)), None, "{template} is the binary's");
        }
        assert_eq!(fill("{version}/{artifact}", arm), None);
    }

    #[test]
    fn only_protected_or_local_transfers_are_allowed() {
        for good in [
            "https://github.com/{version}",
            "http://127.0.0.1:8080/{version}",
            "http://[::1]/x",
            "http://localhost/x",
            "file:///srv/{checksum}",
        ] {
            assert!(good.parse::<UrlTemplate>().is_ok(), "{good} was refused");
        }
        for bad in [
            "http://example.org/x",
            "ftp://example.org/x",
            "/srv/x",
            "http://127.0.0.1.example.org/",
            "https://me:secret@example.org/",
            "https://{version}.example.org/",
            "https://example.org/{versoin}",
            "https://example.org/{",
        ] {
            assert!(bad.parse::<UrlTemplate>().is_err(), "{bad} was taken");
        }
    }

    /// A chain that states the version `e` would leave the folder that the operator wrote.
    #[test]
    fn t13_nothing_that_is_filled_in_becomes_another_folder() {
        for bad in [
            "https://example.org/a/%2{version}%2{version}/x",
            "https://example.org/a/%{version}%{version}/x",
            "https://example.org/a/%2{version}{network}/x",
            "file:///{version}|/../x",
        ] {
            let refused = bad.parse::<UrlTemplate>();
            assert!(matches!(refused, Err(UrlError::PartOfAnEscape { .. })), "{bad}: {refused:?}");
        }
        assert!("https://example.org/a%20b%7B{version}".parse::<UrlTemplate>().is_ok());
    }

    #[test]
    fn a_placeholder_that_nothing_would_fill_is_refused() {
        for bad in ["https://example.org/{version", "https://example.org/version}", "https://example.org/{}}"]
        {
            assert!(bad.parse::<UrlTemplate>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_refusal_of_a_url_without_end_ends() {
        let url = format!("https://example.org/{}", "\u{1b}".repeat(1_000_000));
        for bad in
            [format!("{url}{{"), format!("ftp{url}"), format!(" {url}%{{version}}"), format!("{url}{{x}}")]
        {
            let said = bad.parse::<UrlTemplate>().expect_err("refused").to_string();
            assert!(said.len() < 3000 && !said.contains('\u{1b}'), "{} bytes", said.len());
        }
    }

    #[test]
    fn a_chain_may_name_a_protected_or_local_transfer_and_no_file() {
        let uri = |text: &str| StatedUri::from_bytes(text.as_bytes()).expect("not empty");
        for good in
            ["https://example.org/download/1.0/vault", "http://127.0.0.1:8080/v", "https://h/a?b={version}"]
        {
            assert!(stated(&uri(good)).is_ok(), "{good} was refused");
        }
        for bad in [
            "file:///etc/shadow",
            "FILE:/dev/zero",
            "http://example.org/vault",
            "ftp://example.org/vault",
            "vault",
            "https://",
            " https://example.org/vault",
            "https://example.org/va ult",
            "https://example.org/\u{e9}",
            "https://example.org/\u{1b}[2J",
            "https://me:secret@example.org/",
        ] {
            let said = stated(&uri(bad)).expect_err(bad).to_string();
            assert!(!said.contains('\u{1b}') && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn a_password_is_not_repeated_in_the_refusal() {
        let said = "https://me:secret@example.org/".parse::<UrlTemplate>().expect_err("password").to_string();
        assert!(!said.contains("secret"), "{said}");
    }
}
