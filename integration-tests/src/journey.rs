//! A chain, a release server and an operator, and what governance does with them.

use serde::Deserialize;
use serde_json::json;

use crate::{
    command::{self, Finished},
    dev_chain::DevChain,
    operator::{NETWORK, Operator},
    release_server::ReleaseServer,
    releases::Release,
    rpc_proxy::RpcProxy,
    wait,
};

/// How an operator's Vaultvisor reads the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From a node with the modern methods.
    Node,
    /// From a node that serves the legacy methods only, as those of the live bridges.
    OldNode,
    /// By a light client, from the peer-to-peer network: no node is trusted.
    LightClient,
}

/// Makes tests of journeys: each is an `async fn(Source)`, named as the promise that it is, and becomes one test for
/// each source that is named with it.
///
/// Every source costs a run, so name those that could make a difference to the promise.
#[macro_export]
macro_rules! through {
    ($($journey:ident: $($source:ident),+ $(,)?;)+) => {$(
        mod $journey {
            $($crate::through!(@ $source $journey);)+
        }
    )+};
    (@ Node $journey:ident) => {
        #[tokio::test]
        async fn through_a_node() {
            super::$journey($crate::journey::Source::Node).await;
        }
    };
    (@ OldNode $journey:ident) => {
        #[tokio::test]
        async fn through_an_old_node() {
            super::$journey($crate::journey::Source::OldNode).await;
        }
    };
    (@ LightClient $journey:ident) => {
        #[tokio::test]
        async fn by_a_light_client() {
            super::$journey($crate::journey::Source::LightClient).await;
        }
    };
}

/// The three parties of a journey. Dropped in this order, so that nothing waits for what is gone.
#[derive(Debug)]
pub struct Journey {
    /// Runs Vaultvisor.
    pub operator: Operator,
    /// Offers releases for download.
    pub server: ReleaseServer,
    /// What stands between Vaultvisor and the chain, if anything does.
    pub proxy: Option<RpcProxy>,
    /// States which release it shall be.
    pub chain: DevChain,
}

/// What `release publish --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Published {
    /// The number of the block; `None` if none was waited for.
    pub block: Option<u64>,
    /// Whether that block is final.
    pub finalized: bool,
    /// The version that the chain states.
    pub version: String,
    /// The checksum that the chain states.
    pub checksum: String,
}

impl Journey {
    /// On a new chain of its own, with nothing released yet.
    pub async fn begin() -> Self {
        Self::on(DevChain::start().await).await
    }

    /// On a new chain of its own that is read through this source, with nothing released yet.
    pub async fn through(source: Source) -> Self {
        Self::on_through(DevChain::start().await, source).await
    }

    /// On this chain, with nothing released yet.
    pub async fn on(chain: DevChain) -> Self {
        Self::on_through(chain, Source::Node).await
    }

    /// On this chain, which is read through this source, with nothing released yet.
    pub async fn on_through(chain: DevChain, source: Source) -> Self {
        let proxy = match source {
            Source::OldNode => Some(RpcProxy::in_front_of_old(chain.url()).await),
            Source::Node | Source::LightClient => None,
        };
        let journey = Self::with(chain, proxy).await;
        if source == Source::LightClient {
            journey.operator.read_by_light_client(&journey.chain.spec().await);
        }
        journey
    }

    /// On a new chain of its own, read through a [`node`](Self::node) of that kind which does what the test says.
    ///
    /// # Panics
    /// If that kind is no node.
    pub async fn through_a_changeable(source: Source) -> Self {
        let chain = DevChain::start().await;
        let proxy = match source {
            Source::OldNode => RpcProxy::in_front_of_old(chain.url()).await,
            Source::Node => RpcProxy::in_front_of(chain.url()).await,
            Source::LightClient => panic!("a light client has no node that could be changed"),
        };
        Self::with(chain, Some(proxy)).await
    }

    /// The node between Vaultvisor and the chain.
    ///
    /// # Panics
    /// On a journey without one.
    pub fn node(&self) -> &RpcProxy {
        self.proxy.as_ref().expect("this journey reads the chain itself")
    }

    /// Has the chain's sudo key write values into its storage, by raw key: final when this returns.
    pub async fn write_storage(&self, values: &[(Vec<u8>, Vec<u8>)]) {
        self.chain.sudo("System", "set_storage", &values.to_vec()).await;
        for (key, value) in values {
            let key = format!("0x{}", hex::encode(key));
            wait::until(&format!("{key} to be written"), async || {
                match self.chain.raw_storage(&key, &self.chain.finalized_hash().await).await {
                    Some(found) if found == *value => Ok(()),
                    found => Err(format!("{found:?}")),
                }
            })
            .await;
        }
    }

    async fn with(chain: DevChain, proxy: Option<RpcProxy>) -> Self {
        let server = ReleaseServer::start().await;
        let endpoint = proxy.as_ref().map_or_else(|| chain.url().to_owned(), RpcProxy::url);
        let operator = Operator::new(&endpoint, &server.url_template());
        Self { operator, server, proxy, chain }
    }

    /// Offers a release of the test vault and has the chain state it: final when this returns.
    pub async fn release(&self, version: &str) -> Release {
        let release = Release::of_test_vault(version);
        self.server.offer(&release, NETWORK);
        self.state(&release).await;
        release
    }

    /// Offers a release with these further files, by name and content, and has the chain state it: final when this
    /// returns. [`Self::find_by_checksum`] is needed for them.
    pub async fn release_with(&self, release: &Release, files: &[(&str, &str)]) {
        self.server.offer(release, NETWORK);
        let mut options = Vec::new();
        for (name, content) in files {
            let file = Release::from_bytes(&release.version, content.as_bytes().to_vec());
            self.server.offer_file("files", &file.checksum, content.as_bytes());
            options.extend(["--artifact-checksum".to_owned(), format!("{name}={}", file.checksum)]);
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.publish(release, &options).await.exited(0);
    }

    /// Has Vaultvisor look for files by their checksums too, where [`Self::release_with`] puts them.
    pub fn find_by_checksum(&self) {
        let files = format!("http://{}/files/vault-{{checksum}}", self.server.address());
        self.operator.configure(|config| {
            config["networks"][NETWORK]["release_urls"] = json!([self.server.url_template(), files]);
        });
    }

    /// Has the chain state a release: final when this returns.
    pub async fn state(&self, release: &Release) -> Published {
        let published: Published = self.publish(release, &[]).await.exited(0).json();
        assert!(published.finalized, "publish returns when its block is final: {published:?}");
        published
    }

    /// `vaultvisor release publish` by the chain's sudo key, with further options.
    pub async fn publish(&self, release: &Release, options: &[&str]) -> Finished {
        let fixed = ["release", "publish", "--json", "--endpoint", self.chain.url(), "--suri", "//Alice"];
        let what = ["--version", &release.version, "--checksum", &release.checksum];
        let mut command = self.operator.vaultvisor_command();
        command.args(fixed.iter().chain(&what).chain(options));
        command::run(command).await
    }
}
