//! What is known of a configuration to be, and its text.

use serde_json::{Map, Value, json};

use super::InitArgs;
use crate::config::{Overrides, Settings, file::Problem, networks, parse};

/// A configuration to be, of one vault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) network: Option<String>,
    pub(super) account: Option<String>,
    pub(super) vault: Option<String>,
    pub(super) home: Option<String>,
    pub(super) lock_dir: Option<String>,
    pub(super) endpoints: Vec<String>,
    pub(super) release_urls: Vec<String>,
    pub(super) http: Option<String>,
    pub(super) args: Vec<String>,
}

impl Draft {
    pub(super) fn of(args: InitArgs) -> Self {
        let InitArgs { network, account, vault, home, lock_dir, endpoints, release_urls, http, args } = args;
        Self { network, account, vault, home, lock_dir, endpoints, release_urls, http, args }
    }

    /// The text of the configuration, and what it means; or everything that is wrong with it.
    pub(super) fn finish(&self) -> Result<(String, Settings), Vec<Problem>> {
        let Some(network) = &self.network else {
            let known: Vec<String> = networks::built_in().into_keys().collect();
            let what = format!("is missing, expected a network: {}, or a new one's name", known.join(", "));
            return Err(vec![Problem { path: "--network".to_owned(), what }]);
        };
        let mut root = Map::new();
        root.insert("home".to_owned(), json!(self.home()));
        root.extend(self.lock_dir.as_ref().map(|folder| ("lock_dir".to_owned(), json!(folder))));
        root.extend(self.http.as_ref().map(|address| ("http".to_owned(), json!(address))));
        let mut source = Map::new();
        if !self.endpoints.is_empty() {
            source.insert("endpoints".to_owned(), json!(self.endpoints));
        }
        if !self.release_urls.is_empty() {
            source.insert("release_urls".to_owned(), json!(self.release_urls));
        }
        if !source.is_empty() {
            root.insert("networks".to_owned(), json!({ network: source }));
        }
        let mut vault = Map::new();
        vault.insert("network".to_owned(), json!(network));
        vault.extend(self.account.as_ref().map(|account| ("account".to_owned(), json!(account))));
        vault.insert("args".to_owned(), json!(self.args));
        let name = self.vault.clone().unwrap_or_else(|| format!("{network}-1"));
        root.insert("vaults".to_owned(), json!({ name: vault }));

        // Read back from the very text that is written.
        let text = format!("{:#}\n", Value::Object(root));
        let json = serde_json::from_str(&text)
            .map_err(|error| vec![Problem { path: String::new(), what: error.to_string() }])?;
        let settings = parse(&json, &Overrides::default())?;
        Ok((text, settings))
    }

    pub(super) fn home(&self) -> String {
        self.home.clone().unwrap_or_else(default_home)
    }
}

/// Where services keep their state; a user's own vaultvisor keeps it in that user's home.
fn default_home() -> String {
    let own = std::env::var("HOME").ok().filter(|_| !rustix::process::geteuid().is_root());
    let own = own.filter(|home| home.starts_with('/')).map(|home| format!("{home}/.local/state/vaultvisor"));
    own.unwrap_or_else(|| "/var/lib/vaultvisor".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    fn draft(network: &str) -> Draft {
        let account = Some(ALICE.to_owned());
        Draft { network: Some(network.to_owned()), account, home: Some("/h".into()), ..Draft::default() }
    }

    #[test]
    fn a_known_network_needs_an_account_and_nothing_else() {
        let (text, settings) = draft("kintsugi").finish().expect("valid");
        assert_eq!(settings.vaults["kintsugi-1"].network, "kintsugi");
        assert!(
            text.ends_with("}\n") && !text.contains("networks"),
            "what is built in is not repeated: {text}"
        );
        let problems = Draft { account: None, ..draft("kintsugi") }.finish().expect_err("no account");
        assert_eq!(problems[0].path, "vaults.kintsugi-1.account");
        let problems = Draft { network: None, ..draft("") }.finish().expect_err("no network");
        assert!(problems[0].path == "--network" && problems[0].what.contains("kintsugi"), "{problems:?}");
    }

    #[test]
    fn everything_that_is_given_is_in_the_file() {
        let given = Draft {
            vault: Some("mine".into()),
            lock_dir: Some("/l".into()),
            endpoints: vec!["ws://a".into(), "ws://b".into()],
            release_urls: vec!["https://x/{version}".into()],
            http: Some("127.0.0.1:9616".into()),
            args: vec!["--keyfile".into(), "a b".into()],
            ..draft("dev")
        };
        let (_, settings) = given.finish().expect("valid");
        let vault = &settings.vaults["mine"];
        assert_eq!((vault.args.as_slice(), vault.network.as_str()), (given.args.as_slice(), "dev"));
        assert_eq!((settings.home, settings.lock_dir), ("/h".into(), "/l".into()));
        assert_eq!(settings.networks["dev"].endpoints, given.endpoints);
        assert_eq!(settings.networks["dev"].release_urls.len(), 1);
        assert!(settings.http.is_some());
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let wrong = Draft {
            account: Some("nobody".into()),
            home: Some("relative".into()),
            http: Some("0.0.0.0:1".into()),
            endpoints: vec!["http://x".into()],
            ..draft("kintsugi")
        };
        let problems = wrong.finish().expect_err("wrong");
        for path in ["home", "http", "networks.kintsugi.endpoints[0]", "vaults.kintsugi-1.account"] {
            assert!(problems.iter().any(|problem| problem.path == path), "{path} not in {problems:?}");
        }
    }
}
