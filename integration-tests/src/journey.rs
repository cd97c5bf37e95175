//! A chain, a release server and an operator, and what governance does with them.

use serde::Deserialize;

use crate::{
    command::{self, Finished},
    dev_chain::DevChain,
    operator::{NETWORK, Operator},
    release_server::ReleaseServer,
    releases::Release,
};

/// The three parties of a journey. Dropped in this order, so that nothing waits for what is gone.
#[derive(Debug)]
pub struct Journey {
    /// Runs Vaultvisor.
    pub operator: Operator,
    /// Offers releases for download.
    pub server: ReleaseServer,
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

    /// On this chain, with nothing released yet.
    pub async fn on(chain: DevChain) -> Self {
        let server = ReleaseServer::start().await;
        let operator = Operator::new(chain.url(), &server.url_template());
        Self { operator, server, chain }
    }

    /// Offers a release of the test vault and has the chain state it: final when this returns.
    pub async fn release(&self, version: &str) -> Release {
        let release = Release::of_test_vault(version);
        self.server.offer(&release, NETWORK);
        self.state(&release).await;
        release
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
        command::vaultvisor(fixed.iter().chain(&what).chain(options)).await
    }
}
