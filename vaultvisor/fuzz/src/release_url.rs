//! Release URLs: a template of the operator's, and what a chain has put into it. One line each: the template, then the
//! version, the network and the name of a further file.

use url::{Position, Url};
use vaultvisor::{
    artifact::url::{Filling, UrlTemplate, check, is_loopback, stated},
    release::{ArtifactName, Checksum, StatedUri, Version},
};

use super::is_refused;

/// Whatever is filled in, the URL is one of the template's own server, and of the same depth in its tree; and what is
/// no URL of an allowed kind is refused.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let template = lines.next().unwrap_or_default();
    match check(template) {
        Ok(url) => is_allowed(&url),
        Err(error) => is_refused(&error, ""),
    }
    if let Some(uri) = StatedUri::from_bytes(template.as_bytes()) {
        match stated(&uri) {
            Ok(url) => {
                is_allowed(&url);
                assert_ne!(url.scheme(), "file", "a chain named a file of this machine");
            }
            Err(error) => is_refused(&error, ""),
        }
    }
    let template: UrlTemplate = match template.parse() {
        Ok(template) => template,
        Err(error) => return is_refused(&error, ""),
    };
    assert_eq!(template.to_string().parse(), Ok(template.clone()));
    let (Some(version), Some(network)) = (lines.next(), lines.next()) else { return };
    let Ok(version) = version.parse::<Version>() else { return };
    if !is_name_of_a_network(network) {
        return;
    }
    let artifact = lines.next().and_then(|name| name.parse::<ArtifactName>().ok());
    is_filled(&template, Filling { version: &version, network, checksum: Checksum([0xab; 32]) }, artifact);
}

/// As the configuration takes it.
fn is_name_of_a_network(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_plain) && text.as_bytes()[0].is_ascii_alphanumeric()
}

fn is_filled(template: &UrlTemplate, filling: Filling<'_>, artifact: Option<ArtifactName>) {
    let plain: Version = "0".parse().expect("a version");
    let plain = Filling { version: &plain, network: "n", checksum: Checksum([0; 32]) };
    let expected = template.fill(plain).expect("a template can always be filled");
    let binary = template.fill(filling).expect("a template can always be filled");
    let of_artifact = template.fill_artifact(filling, artifact.as_ref());
    let of_artifact = of_artifact.map(|url| url.expect("a template can always be filled"));
    for url in [Some(binary), of_artifact].into_iter().flatten() {
        is_allowed(&url);
        assert_eq!(url[..Position::BeforePath], expected[..Position::BeforePath], "another server");
        assert_eq!(depth(&url), depth(&expected), "{url} is at another depth than {expected}");
        let is_more = (url.query().is_some(), url.fragment().is_some());
        assert_eq!(is_more, (expected.query().is_some(), expected.fragment().is_some()), "{url}");
        // A brace that is left is a placeholder that nobody filled.
        let left = ["{", "}", "%7B", "%7D"].into_iter().find(|left| url.as_str().contains(left));
        let is_the_templates = template.to_string().to_ascii_uppercase().contains("%7");
        assert!(left.is_none() || is_the_templates, "{url} has {left:?}");
    }
}

fn depth(url: &Url) -> usize {
    url.path().bytes().filter(|byte| *byte == b'/').count()
}

fn is_allowed(url: &Url) {
    assert!(url.username().is_empty() && url.password().is_none(), "{url} would be logged with its password");
    let is_allowed = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(url),
        scheme => scheme == "file",
    };
    assert!(is_allowed, "{url} is not allowed");
}
