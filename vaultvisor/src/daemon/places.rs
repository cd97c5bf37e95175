//! Where a release's files are: what the chain says and what the operator configured, in the order to try.

use url::Url;

use crate::{
    artifact::url::{Filling, stated},
    config::Network,
    decide::state::Build,
    error_chain::Chained,
    release::{ArtifactName, Checksum},
};

/// One of a release's files.
#[derive(Debug)]
pub(crate) struct Published {
    /// The artifact's name; `None` for the binary.
    pub(crate) name: Option<&'static str>,
    /// Its checksum.
    pub(crate) checksum: Checksum,
    /// Where it is, or why nobody knows.
    pub(crate) urls: Result<Vec<Url>, String>,
}

/// All files of a release that a vault needs, the binary first.
pub(crate) fn files(network: &Network, build: &Build) -> Vec<Published> {
    let binary = Published { name: None, checksum: build.checksum, urls: release_urls(network, build) };
    let migrations = build.migrations.named().map(|(name, checksum)| Published {
        name: Some(name),
        checksum,
        urls: migration_urls(network, build, name, checksum),
    });
    std::iter::once(binary).chain(migrations).collect()
}

/// Where a release's binary is published: where the chain says, then the configured places.
///
/// A place that the chain may not name is reported and costs nothing, as long as there is another.
pub(crate) fn release_urls(network: &Network, build: &Build) -> Result<Vec<Url>, String> {
    let mut urls = Vec::new();
    match build.uri.as_ref().map(stated).transpose() {
        Ok(stated) => urls.extend(stated),
        Err(refusal) if network.release_urls.is_empty() => return Err(Chained(&refusal).to_string()),
        Err(refusal) => tracing::warn!(
            network = network.name,
            "release {build}: {}; the configured release URLs are used",
            Chained(&refusal)
        ),
    }
    let filling = Filling { version: &build.version, network: &network.name, checksum: build.checksum };
    for template in &network.release_urls {
        let url = template.fill(filling).map_err(|error| Chained(&error).to_string())?;
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    if urls.is_empty() {
        return Err(format!(
            "the chain does not say where release {build} is, and networks.{}.release_urls names no place either",
            network.name
        ));
    }
    Ok(urls)
}

/// Where one of a release's migrations is published: only the configured places can tell it from the binary.
fn migration_urls(
    network: &Network,
    build: &Build,
    name: &str,
    checksum: Checksum,
) -> Result<Vec<Url>, String> {
    let artifact: ArtifactName = name.parse().map_err(|error| Chained(&error).to_string())?;
    let filling = Filling { version: &build.version, network: &network.name, checksum };
    let urls =
        network.release_urls.iter().filter_map(|template| template.fill_artifact(filling, Some(&artifact)));
    let urls: Vec<Url> = urls.collect::<Result<_, _>>().map_err(|error| Chained(&error).to_string())?;
    if urls.is_empty() {
        return Err(format!(
            "release {build} has the artifact {name}, and no URL of networks.{}.release_urls tells it from the binary; \
             one with {{artifact}} or {{checksum}} would",
            network.name
        ));
    }
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::records::Records,
        release::{Checksum, StatedUri},
    };

    const MIRRORS: [&str; 2] = ["https://a/{version}/{network}", "https://b/{checksum}"];

    fn network(urls: &[&str]) -> Network {
        Network {
            name: "kintsugi".to_owned(),
            endpoints: Vec::new(),
            light_client: None,
            genesis: None,
            records: Records::default(),
            agreement: std::num::NonZeroUsize::MIN,
            release_urls: urls.iter().map(|url| url.parse().expect("a template")).collect(),
        }
    }

    fn places(uri: &str, mirrors: &[&str]) -> Result<Vec<String>, String> {
        let build = Build {
            version: "1.0".parse().expect("a version"),
            checksum: Checksum([0xab; 32]),
            uri: StatedUri::from_bytes(uri.as_bytes()),
            migrations: Default::default(),
        };
        let urls = release_urls(&network(mirrors), &build)?;
        Ok(urls.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_the_chain_names_comes_first_and_the_configured_mirrors_after_it() {
        let [a, b] = ["https://a/1.0/kintsugi".to_owned(), format!("https://b/{}", "ab".repeat(32))];
        assert_eq!(places("", &MIRRORS), Ok(vec![a.clone(), b.clone()]));
        let uri = "https://c/download/1.0/vault";
        assert_eq!(places(uri, &MIRRORS), Ok(vec![uri.to_owned(), a.clone(), b.clone()]));
        assert_eq!(places(uri, &[]), Ok(vec![uri.to_owned()]));
        assert_eq!(places(&b, &MIRRORS), Ok(vec![b, a]), "each once");
    }

    #[test]
    fn what_a_chain_may_not_name_is_passed_over_for_the_mirrors() {
        for uri in ["file:///etc/shadow", "http://example.org/v", "no place"] {
            assert_eq!(places(uri, &MIRRORS).expect("mirrors").len(), 2, "{uri}");
            assert!(places(uri, &[]).expect_err("nothing left").contains("not allowed"), "{uri}");
        }
    }

    #[test]
    fn without_any_place_the_refusal_names_the_key() {
        assert!(places("", &[]).expect_err("nowhere").contains("networks.kintsugi.release_urls"));
    }
}
