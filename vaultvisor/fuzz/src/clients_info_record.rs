//! A value under a key of `ClientsInfo`, as a node serves it.

use codec::Encode;
use vaultvisor::{
    artifact::url::{is_loopback, stated},
    chain::records::{DEFAULT_CLIENT, Record, Slots},
    release::Release,
};

use super::{is_refused, vault_release_record::is_usable};

/// What is decoded is exactly what the pallet encodes, has a version whatever its URI says, and leads nowhere but to
/// what a chain may name; all else is refused with its key and its length.
pub fn holds(data: &[u8]) {
    let record = Record::ClientsInfo { client: DEFAULT_CLIENT.to_owned() };
    let keys = record.keys();
    match record.decode(&Slots { current: Some(data.to_owned()), pending: Some(data.to_owned()) }) {
        Ok(both) => {
            let release = both.current.expect("a value is a release");
            let pending = both.pending.expect("a value is a release");
            assert_eq!(pending.release(), release, "both slots are one type");
            is_the_same_encoded(&release, data);
            is_usable(&release);
            leads_to_a_place(&release);
        }
        Err(error) => {
            assert_eq!(error.length, data.len());
            is_refused(&error, &keys.current.to_string());
        }
    }
}

fn is_the_same_encoded(release: &Release, data: &[u8]) {
    let uri = release.uri.as_ref().map_or("", |uri| uri.as_str());
    // What is no text was replaced when it was read.
    if !uri.contains(char::REPLACEMENT_CHARACTER) {
        let encoded = (uri.as_bytes(), release.binary_checksum.0).encode();
        assert_eq!(encoded, data, "another encoding of {release:?} was taken");
    }
}

fn leads_to_a_place(release: &Release) {
    let Some(uri) = &release.uri else { return };
    match stated(uri) {
        Ok(url) => {
            let is_protected = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
            assert!(is_protected && url.has_host(), "{url} is no place for a chain to name");
            assert!(url.username().is_empty() && url.password().is_none());
        }
        Err(error) => is_refused(&error, ""),
    }
}
