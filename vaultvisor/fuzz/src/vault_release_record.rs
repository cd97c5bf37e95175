//! A value under a key of `pallet-vault-release`, as a node serves it: read as either slot.

use codec::Encode;
use vaultvisor::{
    chain::records::{DEFAULT_PALLET, Record, RecordName, Records, Slots},
    decide::state::Build,
    release::{Artifacts, Release},
};

use super::is_refused;

/// What is decoded is exactly what the pallet encodes; all else is refused with its key and its length.
pub fn holds(data: &[u8]) {
    let record = Record::VaultRelease { pallet: DEFAULT_PALLET.to_owned() };
    let keys = record.keys();
    match record.decode(&Slots { current: Some(data.to_owned()), pending: None }) {
        Ok(stated) => {
            assert_eq!(stated.pending, None);
            let release = stated.current.expect("a value is a release");
            let sequence = release.sequence.expect("this record counts");
            let (version, files) = (release.version.as_str().as_bytes(), files(&release.artifacts));
            let encoded = (sequence, version, release.binary_checksum.0, files).encode();
            assert_eq!(encoded, data, "another encoding of {release:?} was taken");
            is_usable(&release);
            counts_before_the_older_record(data, release);
        }
        Err(error) => {
            assert_eq!(error.length, data.len());
            is_refused(&error, &keys.current.to_string());
        }
    }
    match record.decode(&Slots { current: None, pending: Some(data.to_owned()) }) {
        Ok(stated) => {
            assert_eq!(stated.current, None);
            let pending = stated.pending.expect("a value is a release");
            let spec_version = pending.spec_version.expect("this record says which runtime");
            let (version, files) = (pending.version.as_str().as_bytes(), files(&pending.artifacts));
            let encoded = (version, pending.binary_checksum.0, files, spec_version).encode();
            assert_eq!(encoded, data, "another encoding of {pending:?} was taken");
            is_usable(&pending.release());
        }
        Err(error) => {
            assert_eq!(error.length, data.len());
            is_refused(&error, &keys.pending.to_string());
        }
    }
}

fn files(artifacts: &Artifacts) -> Vec<(&[u8], [u8; 32])> {
    artifacts.iter().map(|(name, checksum)| (name.as_str().as_bytes(), checksum.0)).collect()
}

/// It is a release that can be written down, and whose names can be those of files.
pub(super) fn is_usable(release: &Release) {
    let text = serde_json::to_string(release).expect("strings and numbers");
    assert_eq!(serde_json::from_str::<Release>(&text).expect("what is written is read"), *release);
    let names = release.artifacts.keys().map(|name| name.as_str());
    for name in names.chain([release.version.as_str()]) {
        assert!((1..=255).contains(&name.len()) && !name.contains(".."), "{name:?}");
        assert!(name.as_bytes()[0].is_ascii_alphanumeric(), "{name:?}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte)), "{name:?}");
    }
    let build = Build::from(release);
    assert_eq!(build.files().next(), Some(release.binary_checksum));
}

/// On a chain with both records, what an older one says makes no difference.
fn counts_before_the_older_record(data: &[u8], release: Release) {
    let records = Records::all(DEFAULT_PALLET.to_owned());
    let older = [&[0][..], &[1; 32]].concat();
    let reading = records.decode(&[Some(data.to_owned()), None, Some(older), None]).expect("both decode");
    assert_eq!((reading.record, reading.stated.current), (RecordName::VaultRelease, Some(release)));
}
