//! The calls of `ClientsInfo`, by which Interlay, Kintsugi and Spacewalk chains state the releases of their clients.
//!
//! Pure. What the pallet keeps, and the metadata that this was read from: `records::clients_info`.

use subxt::{dynamic::Value, ext::scale_value::Composite};

use super::decoded::{Decoded, Field};
use crate::{
    chain::records::{MAX_CLIENT_BYTES, MAX_URI_BYTES, release_of},
    release::{Checksum, StatedUri, Version},
};

const SET_CURRENT: &str = "set_current_client_release";
const SET_PENDING: &str = "set_pending_client_release";

/// One call of `ClientsInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCall {
    /// The client that it is about.
    pub client: String,
    /// Where its binary is; `None` for an empty one.
    pub uri: Option<StatedUri>,
    /// SHA-256 of the binary.
    pub checksum: Checksum,
    /// Whether it is for the next runtime upgrade, and not in force at once.
    pub pending: bool,
}

impl ClientCall {
    /// The call's name in the pallet.
    pub fn name(&self) -> &'static str {
        if self.pending { SET_PENDING } else { SET_CURRENT }
    }

    /// The version under which vaultvisor will know it.
    pub fn version(&self) -> Version {
        release_of(self.uri.clone(), self.checksum).version
    }

    pub(super) fn arguments(&self) -> Vec<(&'static str, Value)> {
        let uri = self.uri.as_ref().map_or("", StatedUri::as_str);
        let release =
            [("uri", Value::from_bytes(uri.as_bytes())), ("checksum", Value::from_bytes(self.checksum.0))];
        vec![
            ("client_name", Value::from_bytes(self.client.as_bytes())),
            ("release", Value::without_context(Composite::named(release).into())),
        ]
    }

    /// A decoded call of that pallet; `None` for any that is not exactly as we know it, or that the runtimes' bounds
    /// do not let through.
    pub(super) fn read(name: &str, arguments: &[(&str, &Decoded<'_>)]) -> Option<Self> {
        let pending = match name {
            SET_CURRENT => false,
            SET_PENDING => true,
            _ => return None,
        };
        let [("client_name", Decoded::Bytes(client)), ("release", Decoded::Record(release))] = arguments
        else {
            return None;
        };
        let [
            Field { name: Some("uri"), value: Decoded::Bytes(uri) },
            Field { name: Some("checksum"), value: Decoded::Bytes(checksum) },
        ] = release.as_slice()
        else {
            return None;
        };
        if client.len() > MAX_CLIENT_BYTES || uri.len() > MAX_URI_BYTES {
            return None;
        }
        Some(Self {
            client: String::from_utf8(client.to_vec()).ok()?,
            uri: StatedUri::from_bytes(uri),
            checksum: Checksum(<[u8; 32]>::try_from(*checksum).ok()?),
            pending,
        })
    }
}

#[cfg(test)]
mod tests {
    use codec::Encode;

    use super::*;
    use crate::chain::governance::{
        calls::{CallError, Proposal, Step},
        decoded::decode_call,
        explain::{Explained, Meaning, explain},
        test_runtime::{
            H256, ParachainSystemCall, RuntimeCall, authorize, batch_all, client_release, metadata,
            metadata_without,
        },
    };
    use crate::release::Blake2Hash;

    const URI: &str = "https://h/download/1.2.3/vault";

    fn call(pending: bool) -> ClientCall {
        let uri = StatedUri::from_bytes(URI.as_bytes());
        ClientCall { client: "vault".to_owned(), uri, checksum: Checksum([7; 32]), pending }
    }

    fn proposal(steps: Vec<Step>) -> Proposal {
        Proposal { pallet: "VaultRelease".to_owned(), steps, sudo: false }
    }

    fn explained<T>(bytes: &[u8], look: impl FnOnce(Explained<'_>) -> T) -> T {
        let metadata = metadata();
        look(explain(&decode_call(&metadata, bytes).expect("a call"), "VaultRelease"))
    }

    #[test]
    fn both_calls_are_those_that_the_live_runtimes_take() {
        for pending in [false, true] {
            let bytes = proposal(vec![Step::Client(call(pending))]).encode(&metadata()).expect("fits");
            assert_eq!(bytes, client_release(b"vault", URI.as_bytes(), 7, pending).encode());
            // Pallet, call, name, URI and checksum, byte by byte.
            let expected = [
                &[69, u8::from(pending), 5 << 2][..],
                b"vault",
                &[(URI.len() as u8) << 2],
                URI.as_bytes(),
                &[7; 32],
            ];
            assert_eq!(bytes, expected.concat());
            explained(&bytes, |explained| assert_eq!(explained.client_calls(), [&call(pending)]));
        }
        assert_eq!(call(false).version().as_str(), "1.2.3");
    }

    #[test]
    fn the_upgrade_beside_it_is_authorized_by_the_pallet_that_the_runtime_has() {
        let steps = vec![Step::Client(call(true)), Step::AuthorizeUpgrade { code_hash: Blake2Hash([3; 32]) }];
        let release = || client_release(b"vault", URI.as_bytes(), 7, true);
        let bytes = proposal(steps.clone()).encode(&metadata()).expect("fits");
        assert_eq!(bytes, batch_all(vec![release(), authorize(3)]).encode());
        let old = metadata_without("System");
        let upgrade =
            ParachainSystemCall::authorize_upgrade { code_hash: H256([3; 32]), check_version: true };
        let bytes = proposal(steps.clone()).encode(&old).expect("fits");
        assert_eq!(bytes, batch_all(vec![release(), RuntimeCall::ParachainSystem(upgrade)]).encode());
        let neither = proposal(steps).encode(&metadata_without("System ParachainSystem"));
        assert!(matches!(neither, Err(CallError::Missing { .. })), "{neither:?}");
    }

    #[test]
    fn a_chain_without_the_pallet_is_told_so() {
        let refused = proposal(vec![Step::Client(call(false))]).encode(&metadata_without("ClientsInfo"));
        let said = refused.expect_err("no such pallet").to_string();
        assert!(said.contains("ClientsInfo") && said.contains("clients-info"), "{said}");
    }

    #[test]
    fn hostile_arguments_are_explained_as_they_are_or_as_something_else() {
        let other = |client: &[u8], uri: &[u8]| {
            explained(&client_release(client, uri, 1, false).encode(), |explained| {
                matches!(explained.meaning, Meaning::Other { .. })
            })
        };
        assert!(!other(b"vault", b""));
        assert!(!other(b"vault", b"\xff\x1b[2J"));
        assert!(other(b"\xff", b""), "no client of that name can be configured");
        assert!(other(&[b'a'; 256], b""), "the runtimes take no such name");
        assert!(other(b"vault", &[b'a'; 256]), "nor such a URI");
    }
}
