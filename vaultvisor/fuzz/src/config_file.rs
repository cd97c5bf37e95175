//! The operator's configuration: one whole file as JSON.

use std::{
    collections::HashSet,
    fmt::Write,
    path::{Component, Path},
    time::Duration,
};

use vaultvisor::{
    artifact::url::UrlTemplate,
    chain::records::RecordName,
    config::{self, Network, Overrides, Settings, Vault, file::Json},
};

use super::{is_fit_for_people, is_refused};

const DAY: Duration = Duration::from_secs(86_400);

/// A file is taken, and then everything in it is what the rest of the program relies on, in whatever order it was
/// written; or every problem is told with its place.
pub fn holds(data: &[u8]) {
    let json: Json = match serde_json::from_slice(data) {
        Ok(json) => json,
        Err(error) => return is_refused(&error, "line"),
    };
    // The files that it names have a target of their own, and are none of this one's business.
    if names_a_file(&json) {
        return;
    }
    match config::parse(&json, &Overrides::default()) {
        Ok(settings) => {
            is_sound(&settings);
            let mut text = String::new();
            write_backwards(&json, &mut text);
            let again = serde_json::from_str(&text).expect("what is written is read");
            let again =
                config::parse(&again, &Overrides::default()).expect("the order of keys means nothing");
            assert_eq!(in_any_order(again), in_any_order(settings));
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a word");
            for problem in problems {
                is_fit_for_people(&problem.to_string(), &problem.path);
                assert!(!problem.what.is_empty(), "nothing is said of {:?}", problem.path);
            }
        }
    }
}

fn names_a_file(json: &Json) -> bool {
    match json {
        Json::List(items) => items.iter().any(names_a_file),
        Json::Object(entries) => entries.iter().any(|(key, value)| match value {
            Json::Text(path) => key.ends_with("chain_spec") && path.starts_with('/'),
            value => names_a_file(value),
        }),
        _ => false,
    }
}

fn is_sound(settings: &Settings) {
    assert!(settings.home.is_absolute() && settings.lock_dir.is_absolute());
    if let Some(http) = settings.http {
        assert!(http.allow_remote || http.address.ip().is_loopback(), "{http:?} may be reached by anybody");
    }
    assert!(!settings.vaults.is_empty());
    let mut owners = HashSet::new();
    let mut folders: Vec<&Path> = Vec::new();
    for (name, vault) in &settings.vaults {
        assert_eq!(*name, vault.name);
        let network = settings.networks.get(&vault.network).expect("a vault's network is there");
        is_network_of_a_vault(network);
        is_sound_vault(vault);
        // Two of them pay twice.
        let chain = network.genesis.map_or_else(|| network.name.clone(), |genesis| genesis.to_string());
        assert!(owners.insert((chain, vault.account.clone())), "two vaults of {}", vault.account);
        if let Some(data) = &vault.data {
            let folder = data.folder.as_path();
            assert!(folder.is_absolute() && !folder.components().any(|part| part == Component::ParentDir));
            assert!(!settings.home.starts_with(folder), "{folder:?} is copied with all that we keep");
            for other in &folders {
                assert!(
                    !folder.starts_with(other) && !other.starts_with(folder),
                    "{folder:?} is two vaults'"
                );
            }
            folders.push(folder);
        }
    }
}

fn is_network_of_a_vault(network: &Network) {
    assert!(network.light_client.is_some() || !network.endpoints.is_empty(), "no source");
    assert!(network.light_client.is_some() || network.agreement.get() <= network.endpoints.len());
    let is_told_where = network.records.order() == [RecordName::ClientsInfo];
    assert!(is_told_where || !network.release_urls.is_empty(), "nowhere to fetch from");
    for endpoint in &network.endpoints {
        assert!(endpoint.starts_with("ws://") || endpoint.starts_with("wss://"), "{endpoint:?}");
    }
    for template in &network.release_urls {
        let again: UrlTemplate = template.to_string().parse().expect("what is written is read");
        assert_eq!(again, *template);
    }
}

fn is_sound_vault(vault: &Vault) {
    for name in [vault.name.as_str(), vault.account.as_str()] {
        // Each names a folder or a file.
        assert!((1..=64).contains(&name.len()) && !name.starts_with(['.', '-', '_']), "{name:?}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{name:?}");
    }
    let texts = vault.args.iter().chain(vault.probe_args.iter().flatten());
    assert!(!texts.chain(vault.env.values()).any(|text| text.contains('\0')), "no program can have that");
    for name in vault.env.keys() {
        assert!(!name.is_empty() && !name.contains(['=', '\0']) && !name.starts_with("LD_"), "{name:?}");
    }
    assert!(vault.probe_args.as_ref().is_none_or(|args| !args.is_empty()), "the probe is a second vault");
    assert!((Duration::from_secs(1)..=DAY).contains(&vault.stop.grace));
    assert!(vault.probation.length <= DAY && vault.probation.health_extension <= DAY);
    assert!(!vault.retries.is_empty());
}

/// The same with the last key of every object first.
fn write_backwards(json: &Json, text: &mut String) {
    let written = match json {
        Json::Null => write!(text, "null"),
        Json::Bool(value) => write!(text, "{value}"),
        Json::Unsigned(value) => write!(text, "{value}"),
        Json::OtherNumber(value) => write!(text, "{value:?}"),
        Json::Text(value) => write!(text, "{}", quoted(value)),
        Json::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write_backwards(item, text);
            }
            write!(text, "]")
        }
        Json::Object(entries) => {
            text.push('{');
            for (index, (key, value)) in entries.iter().rev().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let _ = write!(text, "{comma}{}:", quoted(key));
                write_backwards(value, text);
            }
            write!(text, "}}")
        }
    };
    written.expect("writing to a string does not fail");
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string")
}

/// A vault's own endpoints come behind those of the vaults before it: that is an order which means something.
fn in_any_order(mut settings: Settings) -> Settings {
    for network in settings.networks.values_mut() {
        network.endpoints.sort();
    }
    settings
}
